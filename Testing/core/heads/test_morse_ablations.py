"""The rows of MORSE's Table 1 differ in what their names say, and in nothing else."""

import pytest
import torch
from torch.nn import functional

from MorseCore.backbones import Pyramid, PyramidSpec
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads import HEADS
from MorseCore.heads.parts.fourier import FourierEncoding
from MorseCore.heads.parts.linear_pyramid import LinearPyramid
from MorseCore.losses import Targets
from MorseCore.points import grid_coords
from MorseCore.samplers import UncertainConfig
from networks import MORSE_ROWS, TINY_MORSE, make_image, make_network

ROWS = MORSE_ROWS | {"morse": TINY_MORSE}
SPECS = {  # method: the maps that become experts, coarse to fine
    "unet": PyramidSpec(2, (256, 128, 64, 32, 16), (16, 8, 4, 2, 1), 16),
    "transunet": PyramidSpec(2, (128, 64, 16), (4, 2, 1), 16),
    "unet3d": PyramidSpec(3, (256, 128, 64), (4, 2, 1), 8),
    "unetr": PyramidSpec(3, (64, 32, 16), (4, 2, 1), 16),
}


def make_row(name: str, **options):
    return make_network("unet", ROWS[name] | options, dims=2)


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def names(network) -> dict[str, torch.Size]:
    return {name: p.shape for name, p in network.head.named_parameters()}


def in_training(network, image, seed):
    """A field as in a step of training, with the backbone as at inference."""
    network.head.train()
    return network(image, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["moe", "iar+moe"])
def test_a_dense_mixture_draws_nothing_in_training(name):
    network, image = make_row(name, dropout=0.0), make_image(2)
    coords = torch.rand(2, 9, 2) * 2 - 1
    expected = network(image).logits(coords)
    for seed in range(8):
        assert torch.equal(in_training(network, image, seed).logits(coords), expected)


@pytest.mark.parametrize("name", ["smoe", "morse"])
def test_a_stochastic_mixture_leaves_experts_out_in_training_only(name):
    network, image = make_row(name, dropout=0.0), make_image(2)
    coords = torch.rand(2, 9, 2) * 2 - 1
    assert torch.equal(network(image).logits(coords), network(image).logits(coords))
    answers = [in_training(network, image, seed).logits(coords) for seed in range(8)]
    assert not all(torch.equal(answer, answers[0]) for answer in answers)
    weights = torch.cat([in_training(network, image, n).features.weights(coords) for n in range(8)])
    assert (weights == 0).any()


@pytest.mark.parametrize("name", ["moe", "smoe"])
def test_without_rendering_the_coarse_answer_is_final_and_there_is_no_rend_loss(name):
    network, image = make_row(name), make_image(2)
    field, coords = network(image), torch.rand(2, 9, 2) * 2 - 1
    assert torch.equal(field.logits(coords), field.coarse(coords))
    assert dict(network.head.loss_weights) == {"sup": 1.0}
    losses = network.head.losses(
        field, Targets(torch.zeros(2, 8, 16, dtype=torch.long)),
        sampler=UncertainConfig(points=4).build(), active=("sup", "rend"),
    )  # fmt: skip
    assert set(losses) == {"sup"}
    assert network.head.rendering_parameters() == []


def test_rows_with_experts_have_the_same_experts_and_rows_with_rendering_the_same_head():
    moe, smoe, both, morse, iar = (
        names(make_row(n)) for n in ("moe", "smoe", "iar+moe", "morse", "iar")
    )
    assert moe == smoe
    assert both == morse
    rendering = {name: shape for name, shape in morse.items() if name.startswith("render.")}
    assert rendering
    assert {n: s for n, s in morse.items() if n not in rendering} == moe
    assert {name: shape for name, shape in iar.items() if name.startswith("render.")} == rendering
    assert not any(name.startswith("experts.") for name in iar)


def test_with_the_same_weights_iar_moe_and_morse_are_one_at_inference():
    dense, stochastic = make_row("iar+moe"), make_row("morse")
    dense.load_state_dict(stochastic.state_dict())
    image, coords = make_image(2), torch.rand(2, 9, 2) * 2 - 1
    assert torch.equal(dense(image).logits(coords), stochastic(image).logits(coords))


@pytest.mark.parametrize(
    ("name", "key"),
    [("moe", "drop_rate"), ("moe", "render_width"), ("smoe", "frequencies"), ("iar", "gate_depth"),
     ("iar+moe", "routing"), ("moe", "coarse_source")],
)  # fmt: skip
def test_a_row_refuses_options_that_mean_nothing_to_it(name, key):
    with pytest.raises(ConfigError, match=f"Unknown key 'head.{key}'"):
        HEADS.decode({"name": name, key: 1}, "head")


def test_a_custom_preset_names_the_sizes_that_are_missing():
    with pytest.raises(ConfigError, match="'custom' needs 'width' and 'gate_stride'"):
        decode(HEADS["moe"], {"preset": "custom"}, "").build(SPECS["unet"], num_classes=3)


def test_what_went_is_refused_with_a_way_out():
    with pytest.raises(ConfigError, match=r"In 'head': The routing 'inverted'.*take 'renorm'"):
        HEADS.decode({"name": "smoe", "routing": "inverted"}, "head")
    with pytest.raises(ConfigError, match=r'cpu.*"preset": "default" and "gate_stride": 4'):
        HEADS.decode({"name": "morse", "preset": "cpu", "width": 8, "gate_stride": 4}, "head")
    with pytest.raises(ConfigError, match=r'cpu.*take "preset": "default"\.'):
        HEADS.decode({"name": "iar", "preset": "cpu"}, "head")
    with pytest.raises(ConfigError, match="must be one of paper, wide, default, custom; found"):
        HEADS.decode({"name": "morse", "preset": "gpu"}, "head")


@pytest.mark.parametrize("name", ["moe", "smoe", "iar", "iar+moe", "morse"])
def test_the_preset_cpu_of_an_older_model_folder_with_all_its_sizes_is_read_for_ever(name):
    asked = ROWS[name] | {"preset": "cpu"}
    network = make_network("unet", asked, dims=2)
    assert names(network) == names(make_row(name))
    assert network.head.render is None or network.head.render.residual


def test_routing_keeps_the_scale_of_the_features_and_the_released_one_does_not():
    # Experts that all say 1: the mixture is 1 as long as the weights of those that stay sum to 1.
    image, coords = make_image(2), torch.rand(2, 9, 2) * 2 - 1
    for routing, is_kept in (("renorm", True), ("released", False)):
        network = make_row("smoe", routing=routing, drop_rate=0.6, dropout=0.0)
        with torch.no_grad():
            for expert in network.head.experts.experts:
                expert.layers[-1].weight.zero_()
                expert.layers[-1].bias.fill_(1.0)
        expected = network(image).features(coords)
        answers = [in_training(network, image, n).features(coords) for n in range(12)]
        same = all(torch.allclose(answer, expected, atol=1e-5) for answer in answers)
        assert same == is_kept, routing


def pyramid_of(*levels: torch.Tensor) -> Pyramid:
    return Pyramid(levels, tuple(levels[-1].shape[2:]))


def test_the_pyramid_of_iar_is_linear_in_the_decoder_maps_no_relu_anywhere():
    torch.manual_seed(0)
    module = LinearPyramid(PyramidSpec(2, (5, 4, 3), (4, 2, 1), 4), levels=3, width=6).double()
    one, two = (
        [torch.randn(1, c, s, s, dtype=torch.float64) for c, s in ((5, 2), (4, 4), (3, 8))]
        for _ in range(2)
    )
    coords = torch.rand(1, 20, 2, dtype=torch.float64) * 2 - 1
    mixed = module(pyramid_of(*(2 * a - 3 * b for a, b in zip(one, two, strict=True))))(coords)
    x, y = (module(pyramid_of(*maps))(coords) for maps in (one, two))
    offset = module.project.bias
    assert torch.allclose(mixed - offset, 2 * (x - offset) - 3 * (y - offset), atol=1e-12)


def test_the_pyramid_of_iar_adds_a_1x1_up_samples_and_concatenates_level_by_level():
    torch.manual_seed(0)
    module = LinearPyramid(PyramidSpec(2, (5, 4, 3), (4, 2, 1), 4), levels=3, width=6)
    levels = [torch.randn(2, c, s, 2 * s) for c, s in ((5, 2), (4, 4), (3, 8))]
    x = levels[0]
    for mix, finer in zip(module.mix, levels[1:], strict=True):
        x = x + functional.conv2d(x, mix.weight[..., None, None])
        x = functional.interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, finer], dim=1)
    expected = functional.conv2d(x, module.project.weight[..., None, None], module.project.bias)
    features = module(pyramid_of(*levels))
    axes = make_row("iar")(torch.zeros(2, 1, 8, 16)).pixels()
    assert torch.allclose(features.on_grid(axes), expected, atol=1e-5)
    points = features(grid_coords(axes).expand(2, -1, -1))
    assert torch.allclose(points.transpose(1, 2), expected.flatten(2), atol=1e-5)


@pytest.mark.parametrize("name", ["iar", "iar+moe", "morse"])
def test_coarse_logits_are_the_backbones_own_where_the_released_code_is_asked_for(name):
    image, coords = make_image(2), grid_coords(make_row("iar")(make_image(2)).pixels())
    coords = coords.expand(2, -1, -1)
    for source in ("mixture", "backbone"):
        network = make_row(name, coarse_source=source)
        field = network(image)
        coarse, rendered = field.coarse(coords), field.logits(coords)
        if source == "backbone":
            finest = network.backbone(image).levels[-1]
            expected = network.head.classify.on_map(finest).flatten(2).transpose(1, 2)
            assert torch.allclose(coarse, expected, atol=1e-5)
        with torch.no_grad():  # whatever x_out is, it must matter only to what is rendered
            for key, parameter in network.head.named_parameters():
                if key.startswith(("experts.fuse", "pyramid.project")):
                    parameter.mul_(-1)
        changed = network(image)
        assert torch.equal(changed.coarse(coords), coarse) == (source == "backbone")
        assert not torch.allclose(changed.logits(coords), rendered)


def test_the_encoding_is_trained_in_morse_and_fixed_where_the_released_code_is_asked_for():
    for kind, is_trained in (
        ("trainable", True), ("gaussian_fixed", False), ("uniform_fixed", False),
    ):  # fmt: skip
        head = make_row("morse", positional_encoding=kind).head
        trained = dict(head.named_parameters())
        assert ("render.encoding.frequencies" in trained) == is_trained
        rendering = [id(parameter) for parameter in head.rendering_parameters()]
        assert (id(head.render.encoding.frequencies) in rendering) == is_trained
        assert "render.encoding.frequencies" in head.state_dict()  # else a model loses it


def test_released_frequencies_are_uniform_in_0_1_and_the_others_gaussian():
    torch.manual_seed(0)
    uniform = FourierEncoding(2, 4000, kind="uniform_fixed").frequencies
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
    for kind in ("trainable", "gaussian_fixed"):
        gaussian = FourierEncoding(2, 4000, sigma=3.0, kind=kind).frequencies
        assert gaussian.std().item() == pytest.approx(3.0, abs=0.1)
        assert gaussian.mean().item() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("name", ["morse", "iar", "pointrend"])
def test_the_rendering_loss_reaches_the_backbone_even_if_the_sampler_asked_first(name):
    # A sampler asks without gradients; what the field keeps from that must not lose them.
    network, image = make_row(name), make_image(2)
    losses = network.head.losses(
        network(image), Targets(torch.randint(0, 3, (2, 8, 16))),
        sampler=UncertainConfig(points=16, continuous=True).build(), active=("rend",),
    )  # fmt: skip
    losses["rend"].backward()
    first = next(network.backbone.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("unet", 4.73), ("transunet", 3.34), ("unet3d", 9.31), ("unetr", 9.23)],
)
def test_the_papers_mixture_has_the_size_that_follows_from_its_widths(backbone, millions):
    config = decode(HEADS["morse"], {"preset": "paper"}, "")
    with torch.device("meta"):
        head = config.build(SPECS[backbone], num_classes=9)
    assert count(head.experts) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_rendering_head_has_the_released_size_at_width_512():
    options = {"preset": "paper", "render_width": 512, "positional_encoding": "uniform_fixed"}
    with torch.device("meta"):
        head = decode(HEADS["morse"], options, "").build(SPECS["unet"], num_classes=9)
    assert [layer.out_features for layer in head.render.hidden] == [512, 512, 512]
    assert count(head.render) / 1e6 == pytest.approx(0.81, abs=0.005)


def test_one_expert_has_the_whole_weight_whatever_is_drawn():
    # Table 3, N = 1: "no MoE".
    network, image = make_row("morse", experts=1), make_image(2)
    coords = torch.rand(2, 5, 2) * 2 - 1
    for seed in range(4):
        weights = in_training(network, image, seed).features.weights(coords)
        assert torch.equal(weights, torch.ones(2, 5, 1))


def test_fewer_experts_are_the_finest_maps():
    head = make_row("morse", experts=2).head
    assert [expert.layers[0].in_features for expert in head.experts.experts] == [6, 4]
