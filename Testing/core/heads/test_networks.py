"""One contract for every backbone with every head, in 2D and 3D."""

import json
import re
from pathlib import Path

import pytest
import torch

from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError
from MorseCore.losses import Targets
from MorseCore.network import NetworkConfig
from MorseCore.points import grid_coords
from MorseCore.samplers import UncertainConfig
from networks import BACKBONES, ENCODERS, HEADS, ONLY_2D, TINY_MORSE, make_image, make_network

FINEST_ONLY = (
    "plain",
    "pointrend",
    "iar_backbone",
)  # what classifies the finest map; refused on an encoder
ALL = [
    (b, h, d) for b in BACKBONES for h in HEADS for d in (2, 3)
    if (d == 2 or b not in ONLY_2D) and not (b in ENCODERS and h in FINEST_ONLY)
]  # fmt: skip


@pytest.mark.parametrize(("backbone", "head", "dims"), ALL)
def test_a_field_answers_finite_logits_anywhere(backbone, head, dims):
    image = make_image(dims)
    field = make_network(backbone, head, dims=dims)(image)
    coords = torch.rand(2, 17, dims) * 2 - 1
    for answer in (field.coarse(coords), field.logits(coords)):
        assert answer.shape == (2, 17, 3)
        assert torch.isfinite(answer).all()


@pytest.mark.parametrize(("backbone", "head", "dims"), ALL)
def test_the_dense_coarse_map_equals_asking_every_pixel_centre(backbone, head, dims):
    field = make_network(backbone, head, dims=dims)(make_image(dims))
    dense = field.coarse_grid(field.pixels())
    points = field.coarse(grid_coords(field.pixels()).expand(2, -1, -1))
    assert torch.allclose(dense.flatten(2), points.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize(("backbone", "head", "dims"), ALL)
def test_an_image_is_answered_alike_alone_and_in_a_batch(backbone, head, dims):
    network, image = make_network(backbone, head, dims=dims), make_image(dims)
    coords = torch.rand(2, 9, dims) * 2 - 1
    together = network(image).logits(coords)
    alone = network(image[1:]).logits(coords[1:])
    assert torch.allclose(together[1:], alone, atol=1e-5)


@pytest.mark.parametrize(("backbone", "head", "dims"), ALL)
def test_every_parameter_receives_a_gradient(backbone, head, dims):
    network = make_network(backbone, head, dims=dims).train()
    image = make_image(dims)
    labels = torch.randint(0, 3, (2, *image.shape[2:]))
    sampler = UncertainConfig(points=32).build()
    losses = network.head.losses(
        network(image), Targets(labels), sampler=sampler, active=tuple(network.head.loss_weights)
    )
    sum(losses.values()).backward()
    # A sample drops experts at random; whichever were dropped for both have no gradient this time.
    optional = "head.experts.experts" if head in ("morse", "smoe") else "nothing"
    missing = [n for n, p in network.named_parameters() if p.grad is None and optional not in n]
    assert missing == []


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", FINEST_ONLY)
def test_what_reads_the_finest_map_alone_is_refused_on_an_encoder_and_nowhere_else(backbone, head):
    if backbone not in ENCODERS:
        make_network(backbone, head, dims=2)
        return
    with pytest.raises(ConfigError, match="an encoder without decoder") as refused:
        make_network(backbone, head, dims=2)
    named = set(re.findall(r"'(\w+)'", str(refused.value).split("all maps, ")[1])) & {*HEADS}
    assert len(named) > 1
    for fitting in named:
        make_network(backbone, fitting, dims=2)


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_is_shown_the_image_at_its_own_resolution(name, monkeypatch):
    network, image, seen = make_network("unet", name, dims=2), make_image(2), []
    prepare = network.head.prepare

    def watch(pyramid, *, image, generator):
        seen.append(image)
        return prepare(pyramid, image=image, generator=generator)

    monkeypatch.setattr(network.head, "prepare", watch)
    network(image)
    assert len(seen) == 1
    assert seen[0] is image


def test_morses_unet_has_the_papers_experts_and_size():
    data = {"spatial_dims": 2, "backbone": {"name": "unet"}, "head": {"name": "plain"}}
    network = decode(NetworkConfig, data, "").build(num_classes=9)
    spec = network.backbone.spec
    assert list(zip(spec.channels, spec.strides, strict=True)) == [
        (256, 16), (128, 8), (64, 4), (32, 2), (16, 1),
    ]  # fmt: skip
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(1.81, abs=0.01)


def test_morses_3d_unet_has_the_papers_experts_and_size():
    data = {"spatial_dims": 3, "backbone": {"name": "unet3d"}, "head": {"name": "plain"}}
    network = decode(NetworkConfig, data, "").build(num_classes=2)
    spec = network.backbone.spec
    assert list(zip(spec.channels, spec.strides, strict=True)) == [(256, 4), (128, 2), (64, 1)]
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(16.3, abs=0.1)


def test_an_image_that_does_not_halve_evenly_is_refused_with_its_size():
    with pytest.raises(ConfigError, match=r"multiple of 4.*\(8, 16, 10\)"):
        make_network()(torch.zeros(1, 1, 8, 16, 10))


def test_more_experts_than_decoder_maps_are_refused():
    with pytest.raises(ConfigError, match="'experts' is 4, but the backbone has 2 maps"):
        make_network("unet3d", TINY_MORSE | {"experts": 4})


def test_the_papers_gate_can_be_chosen_and_runs_at_full_resolution():
    head = {"name": "morse", "preset": "paper", "width": 4, "frequencies": 2, "render_width": 4}
    network = make_network("unet", head, dims=2)
    gate = [layer for layer in network.head.experts.gate if isinstance(layer, torch.nn.Conv2d)]
    assert (network.head.experts.gate_stride, len(gate)) == (1, 4)
    assert network(make_image(2)).features.gate.shape[2:] == (8, 16)
    assert not network.head.render.residual


@pytest.mark.parametrize(
    ("preset", "chosen", "expected"),
    [("paper", None, False), ("paper", False, False), ("default", None, True),
     ("default", True, True), ("default", False, False)],
)  # fmt: skip
def test_a_preset_chooses_only_where_the_configuration_does_not(preset, chosen, expected):
    head = {"name": "iar", "preset": preset, "width": 4, "frequencies": 2, "render_width": 4}
    head |= {} if chosen is None else {"residual": chosen}
    network = make_network("unet", head, dims=2)
    assert network.head.render.residual == expected


def test_a_residual_head_is_refused_under_the_papers_preset():
    with pytest.raises(ConfigError, match="preset 'paper' has 'residual' false"):
        make_network("unet", {"name": "morse", "preset": "paper", "residual": True}, dims=2)


@pytest.mark.parametrize("name", ["hippocampus-t1", "phantom-tiny", "phantom-tiny-2d"])
def test_a_model_that_ships_says_that_it_is_residual_and_still_is(name):
    folder = Path(__file__).resolve().parents[3] / "MorseCore" / "models" / name
    stored = json.loads((folder / "model.json").read_text(encoding="utf-8"))["network"]
    assert stored["head"]["residual"] is True
    config = decode(NetworkConfig, stored, "")
    assert encode(config)["head"]["residual"] is True
    with torch.device("meta"):
        assert config.build(num_classes=3).head.render.residual


@pytest.mark.parametrize(
    ("preset", "dims", "expected"),
    [("default", 2, (64, 8)), ("default", 3, (32, 4)), ("wide", 2, (256, 4)), ("wide", 3, (64, 4))],
)  # fmt: skip
def test_a_preset_names_the_width_and_the_stride_of_the_gate(preset, dims, expected):
    backbone = "unet" if dims == 2 else "unet3d"
    head = make_network(backbone, {"name": "morse", "preset": preset}, dims=dims).head
    assert (head.experts.width, head.experts.gate_stride) == expected


def test_the_paper_preset_has_the_papers_widths():
    data = {
        "spatial_dims": 2,
        "backbone": {"name": "unet"},
        "head": {"name": "morse", "preset": "paper"},
    }
    network = decode(NetworkConfig, data, "").build(num_classes=9)
    gate = [m for m in network.head.experts.gate if hasattr(m, "kernel_size")]
    assert [m.in_channels for m in gate] == [5 * 256, 256, 256, 256]
    assert gate[-1].out_channels == 5
    assert network.head.render.encoding.frequencies.shape == (2, 128)
