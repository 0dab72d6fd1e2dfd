"""What the network did not see at coarse resolution, the points look up in the image."""

import pytest
import torch

from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads.parts.image_source import ImageStem, StemFeatures
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import KeptFields, join, predict_slabs, predict_volume
from MorseCore.losses import Targets
from MorseCore.network import NetworkConfig
from MorseCore.points import grid_coords, sample_rows, to_rows
from MorseCore.renderers import RefineConfig
from MorseCore.samplers import UncertainConfig
from MorseCore.store.model_folder import WindowConfig
from networks import BACKBONES, IMAGE_ROWS, MORSE_ROWS, TINY_MORSE, make_image, make_network

STEM = {"image": "stem", "image_channels": 5}
RENDERED = {
    "morse": {**TINY_MORSE, **STEM},
    "iar+moe": {**MORSE_ROWS["iar+moe"], **STEM},
    "iar": {**MORSE_ROWS["iar"], **STEM},
    "pointrend": {**MORSE_ROWS["pointrend"], **STEM},
}
WINDOW = {2: (16, 24), 3: (8, 16, 24)}


def make_row(name: str, *, dims: int = 2, **options: object):
    return make_network("unet" if dims == 2 else "unet3d", RENDERED[name] | options, dims=dims)


def some_points(dims: int, count: int = 11) -> torch.Tensor:
    return 2 * torch.rand(2, count, dims, generator=torch.Generator().manual_seed(4)) - 1


def with_a_dot(image: torch.Tensor) -> torch.Tensor:
    """The image with one pixel changed, near its middle."""
    changed = image.clone()
    changed[(..., *(n // 2 for n in image.shape[2:]))] += 3
    return changed


@pytest.mark.parametrize("name", list(RENDERED))
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("source", ["stem", "raw"])
def test_the_image_changes_what_is_rendered_and_never_the_coarse_answer(name, dims, source):
    network, image, coords = (
        make_row(name, dims=dims, image=source), make_image(dims), some_points(dims, 200),
    )  # fmt: skip
    coords[:, 0] = 0  # between the dot and its neighbours
    pyramid = network.backbone(image)
    with torch.no_grad():
        before = network.head.prepare(pyramid, image=image)
        after = network.head.prepare(pyramid, image=with_a_dot(image))  # the pyramid saw no dot
        assert torch.equal(before.coarse(coords), after.coarse(coords))
        grids = [field.coarse_grid(field.pixels()) for field in (before, after)]
        assert torch.equal(*grids)
        moved = (before.logits(coords) - after.logits(coords)).abs().amax(-1) > 1e-6
        reach = ImageStem.halo + 1 if source == "stem" else 2
        size = torch.tensor(image.shape[:1:-1])
        away = ((coords + 1) * size / 2 - 0.5 - size // 2).abs().amax(-1)
        assert moved[away < reach - 1].any()
        assert not moved[away > reach].any()


@pytest.mark.parametrize("name", list(RENDERED))
def test_without_the_image_all_is_as_if_the_option_did_not_exist(name):
    plain, image, coords = make_row(name, image="none"), make_image(2), some_points(2)
    row = {key: value for key, value in RENDERED[name].items() if not key.startswith("image")}
    other = make_network("unet", row, dims=2)
    assert not any("image" in key for key in plain.state_dict())
    assert list(plain.state_dict()) == list(other.state_dict())
    assert torch.equal(plain(image).logits(coords), other(image).logits(coords))


def test_at_the_start_the_image_weighs_as_much_as_each_other_expert():
    network = decode(
        NetworkConfig,
        {"spatial_dims": 2, "backbone": BACKBONES["unet"], "head": RENDERED["iar+moe"]}, "",
    ).build(num_classes=3).eval()  # fmt: skip
    weights = network(make_image(2)).gates(some_points(2))
    assert torch.allclose(weights, torch.full((2, 11, 4), 1 / 4), atol=1e-6)


@pytest.mark.parametrize("routing", ["renorm", "dense"])
def test_the_weights_are_one_softmax_over_all_experts(routing):
    network, coords = make_row("morse", routing=routing), some_points(2)
    field = network(make_image(2))
    weights = field.gates(coords)
    assert weights.shape == (2, 11, 4)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 11), atol=1e-5)
    features = field.features
    rows = to_rows(features.gate)
    logits = sample_rows(rows, features.gate.shape[2:], coords)
    # The logit of the image's expert that explains its weight is the same beside every other.
    own = logits + (weights[..., 3:] / weights[..., :3]).log()
    assert torch.allclose(own, own[..., :1].expand_as(own), atol=1e-4)
    assert own.std() > 0.01


def test_what_is_rendered_is_the_weighted_sum_of_all_experts_through_the_fuse_mlp():
    network, coords = make_row("iar+moe"), some_points(2)
    image = make_image(2)
    with torch.no_grad():
        field = network(image)
        experts, levels = network.head.experts, network.backbone(image).levels
        parts = []
        for expert, level in zip(experts.experts, levels, strict=True):
            if tuple(level.shape[2:]) == field.size:  # sampled before its MLP
                parts.append(expert(sample_rows(to_rows(level), level.shape[2:], coords)))
            else:
                value = expert.on_map(level)
                parts.append(sample_rows(to_rows(value), value.shape[2:], coords))
        stem = experts.image.source.dense(image)
        parts.append(experts.image.expert(sample_rows(to_rows(stem), field.size, coords)))
        mixed = (torch.stack(parts, -1) * field.gates(coords)[..., None, :]).sum(-1)
        _, rendered = field.features.pair(coords)
        assert torch.allclose(rendered, experts.fuse(mixed), atol=1e-5)


def test_in_training_the_image_is_left_out_as_often_as_another_expert():
    network, image = make_row("morse", drop_rate=0.6, dropout=0.0), make_image(2, batch=100)
    network.head.train()
    without = make_row("morse", image="none", drop_rate=0.6, dropout=0.0)
    without.head.train()
    kept = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        features = network.head.features(network.backbone(image), image=image, generator=generator)
        kept += (features.weights(torch.zeros(100, 1, 2))[:, 0, -1] > 0).tolist()
        other = without(image, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(features.mask, other.features.mask)  # the others are drawn as ever
    assert sum(kept) / len(kept) == pytest.approx(0.4, abs=0.06)
    network.head.eval()
    assert (network(make_image(2)).gates(some_points(2)) > 0).all()


def test_routing_of_the_released_code_and_impossible_channels_are_refused():
    with pytest.raises(ConfigError, match="'routing' released has no expert that reads the image"):
        make_row("morse", routing="released")
    for name in (*RENDERED, "implicit_pointrend", "iosnet"):
        row = RENDERED.get(name) or IMAGE_ROWS[f"{name.split('_')[0]}_image"]
        with pytest.raises(ConfigError, match="'image_channels' must be positive; found 0"):
            make_network("unet", row | {"image_channels": 0}, dims=2)


@pytest.mark.parametrize("name", ["moe", "smoe", "plain", "swipe"])
def test_heads_that_render_nothing_have_no_such_option(name):
    with pytest.raises(ConfigError, match="image"):
        make_network("unet", {"name": name, "image": "stem"}, dims=2)


@pytest.mark.parametrize("name", list(RENDERED))
@pytest.mark.parametrize("dims", [2, 3])
def test_the_rendering_loss_reaches_the_stem(name, dims):
    network, image = make_row(name, dims=dims).train(), make_image(dims)
    labels = torch.randint(0, 3, (2, *image.shape[2:]))
    options = {"sampler": UncertainConfig(points=24).build(), "active": ("rend",)}
    found = []
    for seed in range(8):  # in some of them the image's expert takes part
        field = network(image, generator=torch.Generator().manual_seed(seed))
        network.head.losses(field, Targets(labels), **options)["rend"].backward()
    for key, parameter in network.named_parameters():
        if "image" in key:
            found.append(key)
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key
    assert len(found) >= 4
    rendering = {id(parameter) for parameter in network.head.rendering_parameters()}
    assert {id(p) for n, p in network.named_parameters() if "image" in n} <= rendering


def test_the_image_counts_among_what_a_field_keeps():
    image = make_image(2)
    with_image, without = (make_row("iar+moe", image=kind)(image) for kind in ("stem", "none"))
    assert with_image.memory() - without.memory() == image.nbytes


def test_an_image_of_several_channels_is_read_in_all():
    data = {
        "spatial_dims": 2, "in_channels": 2, "backbone": BACKBONES["unet"],
        "head": RENDERED["pointrend"],
    }  # fmt: skip
    network = decode(NetworkConfig, data, "").build(num_classes=3).eval()
    torch.nn.init.normal_(network.head.render.predict.weight)
    image = torch.randn(1, 2, 16, 16)
    pyramid, coords = network.backbone(image), torch.zeros(1, 1, 2)
    for channel in (0, 1):
        changed = image.clone()
        changed[:, channel] += torch.rand(16, 16)
        fields = [network.head.prepare(pyramid, image=x) for x in (image, changed)]
        assert not torch.allclose(*(field.logits(coords) for field in fields))


@pytest.mark.parametrize("source", ["stem", "raw"])
@pytest.mark.parametrize("name", list(RENDERED))
def test_the_image_is_looked_into_in_half_precision_as_well(name, source):
    network, image, coords = make_row(name, image=source), make_image(2), some_points(2, 60)
    with torch.no_grad():
        exact = network(image).logits(coords)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image).logits(coords)
    assert torch.isfinite(found).all()
    assert (found.float() - exact).abs().mean() < 0.05 * exact.abs().mean()
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.head.losses(
            network(image), Targets(torch.zeros(2, 8, 16, dtype=torch.long)),
            sampler=UncertainConfig(points=24).build(), active=("sup", "rend"),
        )  # fmt: skip
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def everywhere(self: StemFeatures, coords: torch.Tensor) -> torch.Tensor:
    """The stem of the whole image, sampled."""
    dense = self._stem.dense(self._image)
    return sample_rows(to_rows(dense), self._image.shape[2:], coords)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
def test_windows_slabs_and_boxes_say_what_a_dense_stem_would(dims, scale, monkeypatch):
    volume = torch.randn(14, 30, 26, generator=torch.Generator().manual_seed(3))
    settings = WindowSettings(
        WINDOW[dims], RefineConfig(points=30).build(), WindowConfig(overlap=0.5), scale=scale,
        precision="fp32",
    )  # fmt: skip
    box = ((2, 5, 3), (9, 20, 17))
    answers = []
    for is_dense in (False, True):
        if is_dense:
            monkeypatch.setattr(StemFeatures, "__call__", everywhere)
        network = make_row("iar+moe", dims=dims)
        kept = KeptFields(WINDOW[dims], limit=10**9, precision="fp32")
        whole = predict_volume(network, volume, settings, keep=kept)
        slabs = [own(part) for part in predict_slabs(network, volume, settings)]
        again = kept.render(RefineConfig(points=400).build(), box, scale=scale)
        answers.append((whole.refined, join(slabs).refined, again.refined))
    for bricks, dense in zip(*answers, strict=True):
        assert torch.allclose(bricks, dense, atol=1e-5)
    assert torch.allclose(answers[0][0], answers[0][1], atol=1e-5)


def own(part):
    """A slab that outlives the next one."""
    copied = {n: getattr(part, n).clone() for n in ("coarse", "refined", "rendered")}
    return type(part)(**copied, windows=part.windows, evaluations=part.evaluations,
                      first=part.first)  # fmt: skip


def test_few_points_of_a_window_compute_few_bricks():
    network = make_row("iar+moe", dims=3)
    image = torch.randn(1, 1, 32, 48, 40, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        field = network(image)
        assert field.features.seen.evaluated == 0  # nothing before a point is asked
        field.coarse_grid(field.pixels())
        assert field.features.seen.evaluated == 0
        field.logits(grid_coords([axis[8:12] for axis in field.pixels()]))
    assert field.features.seen.evaluated == 64
