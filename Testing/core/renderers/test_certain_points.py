"""Renderer ``refine`` with ``certain_margin``: what is certain is not rendered."""

from dataclasses import replace

import pytest
import torch

from MorseCore.inference.options import PredictOptions
from MorseCore.points import margin
from MorseCore.renderers import RefineConfig
from MorseCore.renderers.renderer import coarse_logits
from networks import make_image, make_network


@pytest.mark.parametrize("points", [5, 200])
def test_certain_pixels_are_not_rendered_even_if_points_are_left(points):
    """Of two images the second is far surer: it has fewer pixels within the margin."""
    network, image = make_network("unet", dims=2), make_image(2)
    coarse = coarse_logits(network(image), network(image).pixels(), stride=1)
    lead = -margin(coarse.flatten(2), dim=1)
    limit = lead[0].quantile(0.3).item()
    result = (
        RefineConfig(points=points, passes=1, certain_margin=limit).build().render(network(image))
    )
    uncertain = [set((row <= limit).nonzero()[:, 0].tolist()) for row in lead]
    assert len(uncertain[0]) != len(uncertain[1])
    assert min(map(len, uncertain)) > 5
    for found, wanted in zip(result.index, uncertain, strict=True):
        assert set(found.tolist()) <= wanted
        assert len(set(found.tolist())) == min(points, len(wanted))
    assert result.evaluations == sum(min(points, len(wanted)) for wanted in uncertain)


def test_a_certain_image_beside_an_uncertain_one_is_not_rendered():
    """In a batch rows of indices are equally long; alone and in a batch the answer is one."""
    network, image = make_network("unet", dims=2), make_image(2)
    field = network(image)
    lead = -margin(coarse_logits(field, field.pixels(), stride=1).flatten(2), dim=1)
    least = lead.min(1).values
    config = RefineConfig(points=50, certain_margin=least.mean().item())
    together, certain = config.build().render(field), int(least.argmax())
    assert together.untouched == (certain,)
    assert torch.equal(together.refined[certain], together.coarse[certain])
    assert len(together.rendered(certain)) == 0
    assert len(together.rendered(1 - certain)) == together.evaluations > 0
    assert not torch.equal(together.refined[1 - certain], together.coarse[1 - certain])


def test_where_everything_is_certain_nothing_is_rendered():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=20, certain_margin=1e-9).build().render(field)
    assert result.refined is result.coarse
    assert (result.index.shape, result.evaluations) == ((2, 0), 0)


@pytest.mark.parametrize(
    ("options", "left_out"),
    [({}, True), ({"points": 100}, True), ({"points": 50, "passes": 4}, True),
     ({"points": 101}, False), ({"passes": 3}, False)],
)  # fmt: skip
def test_who_asks_for_more_points_than_the_models_gets_certain_ones_too(options, left_out):
    own = RefineConfig(points=100, passes=2, certain_margin=4.0)
    share = replace(own, points_fraction=0.25)  # of 20 x 20 pixels that is 100, too
    for default in (own, share):
        chosen = PredictOptions(**options).renderer(default, window=(20, 20))
        assert chosen.certain_margin == (4.0 if left_out else 0.0)
