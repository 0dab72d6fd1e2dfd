"""Implicit PointRend: every image has its own point MLP."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from MorseCore.backbones import Pyramid, PyramidSpec
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads import HEADS
from MorseCore.heads.implicit_pointrend import ImplicitPointRendField
from MorseCore.losses import Targets, point_cross_entropy, point_region_loss
from MorseCore.points import index_to_coords
from MorseCore.samplers import UncertainConfig
from networks import MORSE_ROWS, make_image, make_network

UNET = PyramidSpec(2, (256, 128, 64, 32, 16), (16, 8, 4, 2, 1), 16)


class FirstRow:
    """A sampler that always takes the first four pixels."""

    def select(self, field, targets, *, coarse=None, generator=None):
        return index_to_coords(torch.arange(4).expand(field.batch, -1), field.size)


def make_implicit(**options):
    return make_network("unet", MORSE_ROWS["implicit_pointrend"] | options, dims=2)


def some_coords() -> torch.Tensor:
    return torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_parameters_of_the_point_mlp_depend_on_the_image():
    field = make_implicit()(50 * make_image(2))  # random weights see faint differences only
    assert (field.parameters[0] - field.parameters[1]).abs().max() > 1e-4


def test_other_parameters_give_other_answers_to_the_same_features():
    network = make_implicit()
    field, coords = network(50 * make_image(2)), some_coords()
    swapped = ImplicitPointRendField(network.head, field._features, field.parameters.flip(0))
    assert not torch.allclose(field.logits(coords), swapped.logits(coords), atol=1e-4)


def test_each_image_is_answered_by_its_own_mlp_on_position_and_features():
    network = make_implicit()
    field, coords = network(make_image(2)), some_coords()
    features = field._features(coords)
    for n in range(2):
        x = torch.cat([network.head.encoding(coords[n]), features[n]], dim=-1)
        start, widths = 0, network.head.widths
        for layer, (a, b) in enumerate(pairwise(widths)):
            weight = field.parameters[n, start : start + a * b].view(a, b)
            bias = field.parameters[n, start + a * b : start + a * b + b]
            x = functional.relu(x) if layer else x
            x = functional.linear(x, weight.T, bias)
            start += a * b + b
        assert start == field.parameters.shape[1]
        assert torch.allclose(field.logits(coords)[n], x, atol=1e-5)


def test_the_frequencies_are_gaussian_and_not_trained():
    head = make_implicit(frequencies=2000).head
    assert "encoding.frequencies" not in dict(head.named_parameters())
    assert "encoding.frequencies" in head.state_dict()
    assert head.encoding.frequencies.std().item() == pytest.approx(1.0, abs=0.05)
    assert head.encoding.frequencies.min() < 0


def test_there_is_no_coarse_mask_and_the_loss_is_taken_at_the_sampled_points_only():
    network, image = make_implicit(), make_image(2)
    field = network(image)
    coords = some_coords()
    assert torch.equal(field.coarse(coords), field.logits(coords))
    labels = torch.randint(0, 3, (2, 8, 16), generator=torch.Generator().manual_seed(0))
    elsewhere = labels.clone()
    elsewhere[:, 1:] = 0
    arguments = {"sampler": FirstRow(), "active": ("sup", "param", "rend")}
    losses = network.head.losses(field, Targets(labels), **arguments)
    assert set(losses) == {"sup", "param"}
    others = network.head.losses(field, Targets(elsewhere), **arguments)
    assert torch.equal(losses["sup"], others["sup"])
    points = FirstRow().select(field, None)
    assert torch.equal(losses["sup"], point_cross_entropy(field.logits(points), labels[:, 0, :4]))


def test_the_loss_of_the_points_can_be_that_of_the_other_rows():
    network, image = make_implicit(loss="dice_ce"), make_image(2)
    field, labels = network(image), torch.randint(0, 3, (2, 8, 16))
    losses = network.head.losses(field, Targets(labels), sampler=FirstRow(), active=("sup",))
    points = FirstRow().select(field, None)
    assert torch.equal(losses["sup"], point_region_loss(field.logits(points), labels[:, 0, :4]))


def test_the_penalty_is_the_mean_square_of_the_predicted_parameters_with_a_weight_of_1e_5():
    network = make_implicit()
    field = network(make_image(2))
    losses = network.head.losses(
        field, Targets(torch.zeros(2, 8, 16, dtype=torch.long)),
        sampler=FirstRow(), active=("param",),
    )  # fmt: skip
    assert losses["param"].item() == pytest.approx(field.parameters.pow(2).mean().item(), rel=1e-6)
    assert dict(network.head.loss_weights) == {"sup": 1.0, "param": 1e-5}
    assert make_implicit(penalty=0.5).head.loss_weights["param"] == 0.5


def test_the_sizes_are_those_that_fit_29_k_parameters_predicted_by_7_5_m_weights():
    with torch.device("meta"):
        head = decode(HEADS["implicit_pointrend"], {}, "").build(UNET, num_classes=9)
    last = head.parameter_head[-1]
    assert last.out_features == 29_449
    assert last.weight.numel() / 1e6 == pytest.approx(7.5, abs=0.05)


def test_the_papers_widths_would_need_272_m_weights():
    options = {"width": 256, "features": 256, "hidden": 1024}
    with torch.device("meta"):
        head = decode(HEADS["implicit_pointrend"], options, "").build(UNET, num_classes=9)
    assert head.parameter_head[-1].out_features == 265_225
    assert head.parameter_head[-1].weight.numel() / 1e6 == pytest.approx(272, abs=1)


def test_a_new_head_learns_in_all_layers_of_the_point_mlp_from_the_first_step():
    # Predicted parameters that begin at zero would give all but the last bias no gradient.
    torch.manual_seed(0)
    config = decode(HEADS["implicit_pointrend"], {"width": 8, "features": 4, "hidden": 16}, "")
    head = config.build(PyramidSpec(2, (6, 4), (2, 1), 2), num_classes=3)
    levels = (torch.randn(1, 6, 4, 4), torch.randn(1, 4, 8, 8))
    field = head.prepare(Pyramid(levels, (8, 8)))
    head.losses(
        field, Targets(torch.randint(0, 3, (1, 8, 8))),
        sampler=UncertainConfig(points=40, importance=0.0, oversample=1).build(), active=("sup",),
    )["sup"].backward()  # fmt: skip
    gradient = head.parameter_head[-1].bias.grad
    sizes = [a * b + b for a, b in pairwise(head.widths)]
    assert all(part.abs().max() > 1e-4 for part in gradient.split(sizes))


def test_a_grid_of_means_sees_where_things_are_and_the_global_mean_does_not():
    for pool, sees in ((1, False), (2, True)):
        head = make_implicit(pool=pool).head
        levels = [torch.randn(1, c, s, s) for c, s in ((8, 4), (6, 8), (4, 16))]
        fields = [
            head.prepare(Pyramid((first, *levels[1:]), (16, 16)))
            for first in (levels[0], levels[0].flip(2))
        ]
        same = torch.allclose(fields[0].parameters, fields[1].parameters, atol=1e-5)
        assert same != sees


def test_impossible_sizes_are_refused_by_name():
    for key in ("width", "pool", "hidden"):
        with pytest.raises(ConfigError, match=f"'{key}' must be positive"):
            make_implicit(**{key: 0})
    with pytest.raises(ConfigError, match="'penalty' must not be negative"):
        make_implicit(penalty=-1.0)
