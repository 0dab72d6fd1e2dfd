"""Interpolation between two grids: as SimpleITK does it, part by part the same."""

import numpy as np
import pytest
import SimpleITK
import torch

from MorseCore.geometry import Geometry
from MorseCore.images import grids, resampling
from MorseCore.images.grids import canonical_axes
from MorseCore.images.inverse_resampling import to_input_grid_scalar
from MorseCore.images.resampling import AxisInterpolator, ObliqueInterpolator, make_interpolator
from turned_grids import centred, positions, turned


@pytest.mark.parametrize("degrees", [0, 33])
def test_the_interpolation_is_simpleitks(degrees: float) -> None:
    source = centred((14, 15, 16), (1.0, 1.2, 1.6), turned(degrees, 0))
    target = centred((12, 13, 14), (0.9, 0.9, 0.9), np.eye(4))
    smooth = np.sin(positions(source) @ [0.2, 0.1, 0.15]).astype(np.float32)
    image = SimpleITK.GetImageFromArray(smooth)
    spacing, origin, direction = source.lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    spacing, origin, direction = target.lps()
    expected = SimpleITK.Resample(
        image, target.shape[::-1], SimpleITK.Transform(), SimpleITK.sitkLinear,
        origin, spacing, direction, 0.0,
    )  # fmt: skip
    found = to_input_grid_scalar(smooth, model_geometry=source, input_geometry=target)
    np.testing.assert_allclose(found, SimpleITK.GetArrayFromImage(expected), atol=1e-4)


def test_parallel_grids_are_sampled_along_axes_and_turned_ones_point_by_point() -> None:
    straight = Geometry((4, 5, 6), np.eye(4))
    swapped = canonical_axes(Geometry((6, 5, 4), np.eye(4)[[2, 1, 0, 3]])).geometry(straight)
    assert isinstance(make_interpolator(straight, swapped), AxisInterpolator)
    assert isinstance(
        make_interpolator(straight, Geometry((4, 5, 6), turned(0.1, 2))), ObliqueInterpolator
    )


@pytest.mark.parametrize("degrees", [0, 15])
def test_a_part_is_sampled_to_the_same_bits_as_the_whole(degrees: float) -> None:
    source = centred((9, 10, 11), (1.0, 1.3, 0.7), turned(degrees, 2))
    target = centred((12, 11, 10), (0.8, 0.8, 0.8), np.eye(4))
    channel = torch.rand(source.shape, generator=torch.Generator().manual_seed(0))
    sampler = make_interpolator(source, target)
    whole = sampler.sample(channel, ((0, 0, 0), target.shape))
    part = sampler.sample(channel, ((3, 2, 1), (7, 9, 8)))
    assert torch.equal(part, whole[3:7, 2:9, 1:8])


def test_slabs_tile_the_volume() -> None:
    boxes = resampling.chunks((10, 3, 4), limit=36)
    assert [(a[0], b[0]) for a, b in boxes] == [(0, 3), (3, 6), (6, 9), (9, 10)]


def test_only_what_differs_in_spacing_is_smoothed() -> None:
    source, target = Geometry((8, 8, 8), np.eye(4)), Geometry((8, 4, 2), np.diag([4.0, 2, 1, 1]))
    assert grids._antialiasing(source, target) == (0.0, 0.5, 1.5)
