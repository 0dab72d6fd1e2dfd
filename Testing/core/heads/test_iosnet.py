"""The IOSNet head: interpolated features of all levels, and the coordinate."""

import pytest
import torch
from torch.nn.functional import grid_sample

from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.iosnet import IosnetConfig
from networks import make_image, make_network

TINY = {"name": "iosnet", "widths": [9, 8]}


def features_of(changes: dict, coords: torch.Tensor, *, dims: int = 2):
    network, image = make_network("unet", TINY | changes, dims=dims), make_image(dims)
    return network(image).features(coords), network.backbone(image)


def interpolated(pyramid, coords: torch.Tensor) -> torch.Tensor:
    """(B, P, F): all levels by torch's own interpolation, coordinates (x, y[, z])."""
    grid = coords.view(*coords.shape[:2], *[1] * (coords.shape[2] - 1), -1)
    levels = [
        grid_sample(level, grid, padding_mode="border", align_corners=False).flatten(2)
        for level in pyramid.levels
    ]
    return torch.cat(levels, dim=1).transpose(1, 2)


@pytest.mark.parametrize("dims", [2, 3])
def test_features_are_linearly_interpolated_on_every_level_with_the_coordinate_behind(dims):
    # Fails for the nearest feature, and for the released code's half-pixel error.
    coords = torch.rand(2, 40, dims) * 2 - 1
    features, pyramid = features_of({}, coords, dims=dims)
    assert torch.allclose(features[..., :-dims], interpolated(pyramid, coords), atol=1e-5)
    assert torch.equal(features[..., -dims:], coords)


def test_displaced_samples_are_averaged_or_joined():
    coords = torch.rand(2, 10, 2) - 0.5
    shifts = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [-0.2, 0.0], [0.0, -0.2]])
    averaged, pyramid = features_of({"displacement": 0.2}, coords)
    each = [interpolated(pyramid, coords + shift) for shift in shifts]
    assert torch.allclose(averaged[..., :-2], torch.stack(each).mean(0), atol=1e-5)
    joined, _ = features_of({"displacement": 0.2, "displaced": "concat"}, coords)
    assert torch.allclose(joined[..., :-2], torch.cat(each, dim=-1), atol=1e-5)


def test_the_global_pool_is_the_mean_of_the_coarsest_map():
    features, pyramid = features_of({"global_pool": True}, torch.zeros(2, 3, 2))
    mean = pyramid.levels[0].flatten(2).mean(2)
    assert torch.allclose(features[..., -8:], mean[:, None].expand(-1, 3, -1), atol=1e-6)


def test_the_released_network_has_three_layers_of_1024():
    spec = PyramidSpec(2, (512, 256, 128, 64, 64), (32, 16, 8, 4, 2), 32)
    head = IosnetConfig().build(spec, num_classes=2)
    shapes = [tuple(p.shape) for n, p in head.named_parameters() if n.endswith("weight")]
    assert shapes == [(1024, 1024 + 2), (1024, 1024), (1024, 1024), (2, 1024)]


def test_two_points_of_one_pixel_can_have_different_answers():
    field = make_network("unet", TINY, dims=2)(make_image(2))
    answers = field.logits(torch.tensor([[0.01, 0.01], [0.1, 0.1]]).expand(2, -1, -1))
    assert not torch.allclose(answers[:, 0], answers[:, 1], atol=1e-6)


def test_a_displacement_beyond_the_image_is_refused():
    with pytest.raises(ConfigError, match="'displacement' must lie in"):
        IosnetConfig(displacement=2.5)
