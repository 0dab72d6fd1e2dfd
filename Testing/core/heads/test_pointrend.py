"""PointRend: a point head on fine features and the backbone's own coarse logits."""

import pytest
import torch

from MorseCore.backbones import PyramidSpec
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads import HEADS
from MorseCore.training.config import OptimisationConfig
from MorseCore.training.step import loss_weights
from networks import MORSE_ROWS, make_image, make_network


def make_pointrend(**options):
    return make_network("unet", MORSE_ROWS["pointrend"] | options, dims=2)


def some_coords() -> torch.Tensor:
    return torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_coarse_logits_are_the_backbones_and_do_not_see_the_fine_features():
    network, image, coords = make_pointrend(), make_image(2), some_coords()
    plain = make_network("unet", "plain", dims=2)
    plain.backbone.load_state_dict(network.backbone.state_dict())
    plain.head.classify.load_state_dict(network.head.classify.state_dict())
    before = network(image).logits(coords)
    with torch.no_grad():
        network.head.pyramid.project.weight.mul_(-1)
    assert torch.equal(network(image).coarse(coords), plain(image).coarse(coords))
    assert not torch.allclose(network(image).logits(coords), before)


def test_the_point_head_is_fed_the_coarse_logits():
    network, image, coords = make_pointrend(), make_image(2), some_coords()
    before = network(image).logits(coords)
    with torch.no_grad():
        network.head.classify.bias.add_(torch.tensor([2.0, -1.0, 0.5]))
    assert not torch.allclose(network(image).logits(coords), before)


@pytest.mark.parametrize("reinject", [True, False])
def test_coarse_logits_reach_every_layer_only_where_they_are_re_injected(reinject):
    network, image, coords = make_pointrend(reinject=reinject), make_image(2), some_coords()
    with torch.no_grad():
        network.head.render.hidden[0].weight[:, -3:] = 0  # the first layer does not look at them
        before = network(image).logits(coords)
        network.head.classify.bias.add_(torch.tensor([2.0, -1.0, 0.5]))
        after = network(image).logits(coords)
    assert torch.allclose(before, after) != reinject


def test_there_is_no_positional_encoding():
    network = make_pointrend()
    features, coarse = torch.randn(1, 1, 8), torch.randn(1, 1, 3)
    here, there = (
        network.head.render(torch.full((1, 1, 2), x), features, coarse) for x in (0.1, 0.7)
    )
    assert torch.equal(here, there)


def test_rendered_logits_start_near_zero_and_are_not_added_to_the_coarse_ones():
    torch.manual_seed(0)
    network = make_pointrend()
    torch.nn.init.normal_(network.head.render.predict.weight, std=0.001)
    torch.nn.init.zeros_(network.head.render.predict.bias)
    field, coords = network(make_image(2)), some_coords()
    assert field.logits(coords).abs().max() < 0.05
    assert field.coarse(coords).abs().max() > 0.05


def test_a_new_point_head_predicts_with_weights_of_a_thousandth():
    config = decode(HEADS["pointrend"], {}, "")
    head = config.build(PyramidSpec(2, (16,), (1,), 1), num_classes=9)
    assert head.render.predict.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert head.render.predict.bias.abs().max() == 0


def test_the_point_head_has_the_released_size():
    spec = PyramidSpec(2, (256, 128, 64, 32, 16), (16, 8, 4, 2, 1), 16)
    with torch.device("meta"):
        head = decode(HEADS["pointrend"], {}, "").build(spec, num_classes=9)
    count = sum(parameter.numel() for parameter in head.render.parameters())
    assert count / 1e6 == pytest.approx(0.21, abs=0.005)


def test_its_loss_has_weight_one_from_the_first_step_with_the_documented_options():
    options = OptimisationConfig(schedule="from_scratch", render_weight=1.0)
    weights = loss_weights(make_pointrend().head.loss_weights, 0, options)
    assert weights == {"sup": 1.0, "rend": 1.0}


def test_fine_features_can_be_those_of_the_finest_map_alone():
    network, image = make_pointrend(levels=1), make_image(2)
    assert len(network.head.pyramid.mix) == 0
    assert network.head.pyramid.project.in_features == 4
    assert torch.isfinite(network(image).logits(some_coords())).all()


def test_more_levels_than_the_backbone_has_are_refused():
    with pytest.raises(ConfigError, match="'levels' is 4, but the backbone has 3 maps"):
        make_pointrend(levels=4)
    with pytest.raises(ConfigError, match="'point_width' must be positive"):
        make_pointrend(point_width=0)
