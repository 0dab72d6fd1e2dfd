"""Coordinates, sampling and scattering, in 2D and 3D."""

from math import prod

import pytest
import torch
from torch.nn import functional

from MorseCore.points import (
    centre_index,
    coords_to_index,
    gather_points,
    grid_coords,
    index_to_coords,
    margin,
    pixel_axes,
    sample_grid,
    sample_maps,
    sample_maps_on_grid,
    sample_rows,
    scatter_points,
    to_rows,
    top_two,
)

SIZES = [(5, 7), (3, 4, 6)]


def test_pixel_centres_lie_half_a_pixel_inside_the_image():
    coords = index_to_coords(torch.tensor([[0, 3]]), (2, 2))
    assert coords.tolist() == [[[-0.5, -0.5], [0.5, 0.5]]]


def test_coordinates_are_ordered_x_first():
    coords = index_to_coords(torch.tensor([[1]]), (1, 1, 4))  # second voxel along the last axis
    assert coords.tolist() == [[[-0.25, 0.0, 0.0]]]


@pytest.mark.parametrize("size", SIZES)
def test_every_index_survives_the_round_trip_through_coordinates(size):
    index = torch.arange(torch.tensor(size).prod())[None]
    assert torch.equal(coords_to_index(index_to_coords(index, size), size), index)


@pytest.mark.parametrize("size", [*SIZES, (1, 6)])
def test_centres_of_pixels_are_known_as_such_and_nothing_else_is(size):
    index = torch.arange(prod(size)).flip(0).view(1, -1).expand(2, -1)
    centres = index_to_coords(index, size)
    assert torch.equal(centre_index(centres, size), index)
    assert centre_index(index_to_coords(index, [2 * n for n in size]), size) is None  # finer
    for wrong in (0.3 / size[-1], 2.0):  # one point off the centre, one beyond the border
        shifted = centres.clone()
        shifted[1, -1, 0] += wrong
        assert centre_index(shifted, size) is None


def test_a_refined_voxel_deep_in_a_volume_is_written_where_it_belongs():
    # The released MORSE code takes the index modulo H*W and so writes into the first slice.
    volume = torch.zeros(1, 1, 6, 8, 7)
    index = coords_to_index(index_to_coords(torch.tensor([[5 * 56 + 10]]), (6, 8, 7)), (6, 8, 7))
    written = scatter_points(volume, index, torch.ones(1, 1, 1))
    assert written.nonzero().tolist() == [[0, 0, 5, 1, 3]]


@pytest.mark.parametrize("size", SIZES)
def test_scattering_what_was_gathered_changes_nothing(size):
    values = torch.randn(2, 3, *size)
    index = torch.stack([torch.randperm(values[0, 0].numel())[:9] for _ in range(2)])
    assert torch.equal(scatter_points(values, index, gather_points(values, index)), values)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_sampling_a_coarse_map_at_fine_pixels_equals_up_sampling_it(size, factor):
    features = torch.randn(2, 5, *size, dtype=torch.float64)
    fine = [n * factor for n in size]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    expected = functional.interpolate(features, size=fine, mode=mode, align_corners=False)
    axes = [axis.double() for axis in pixel_axes(fine)]
    assert torch.allclose(sample_grid(features, axes), expected, atol=1e-6)
    points = sample_rows(to_rows(features), size, grid_coords(axes).expand(2, -1, -1))
    assert torch.allclose(points.transpose(1, 2).view_as(expected), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_points_between_pixels_agree_with_torchs_own_sampler(size):
    features = torch.randn(2, 4, *size)
    coords = torch.rand(2, 50, len(size)) * 2.4 - 1.2  # some beyond the border
    grid = coords.view(2, 50, *[1] * (len(size) - 1), len(size))
    expected = functional.grid_sample(
        features, grid, mode="bilinear", padding_mode="border", align_corners=False
    ).flatten(2)
    points = sample_rows(to_rows(features), size, coords)
    assert torch.allclose(points.transpose(1, 2), expected, atol=1e-5)


def test_a_map_of_one_pixel_is_the_same_everywhere():
    features = torch.tensor([[[[3.0]]]])
    assert sample_rows(to_rows(features), (1, 1), torch.tensor([[[-0.7, 0.9]]])).item() == 3.0
    assert torch.equal(sample_grid(features, pixel_axes((2, 3))), torch.full((1, 1, 2, 3), 3.0))


def test_margin_is_zero_for_a_tie_and_more_negative_the_surer_the_network_is():
    logits = torch.tensor([[[1.0, 1.0, -5.0], [4.0, 1.0, 0.0]]])
    assert margin(logits).tolist() == [[0.0, -3.0]]


def test_between_two_sure_pixels_the_logits_tie():
    # Sampling the uncertainty map instead would call the middle as sure as its neighbours.
    logits = torch.tensor([[[[9.0, 0.0]], [[0.0, 9.0]]]])  # (1, 2, 1, 2)
    middle = sample_rows(to_rows(logits), (1, 2), torch.zeros(1, 1, 2))
    assert margin(middle).item() == pytest.approx(0.0)
    assert margin(logits, dim=1).max().item() == -9.0


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_two_largest_are_those_of_topk(classes):
    values = torch.randint(0, 5, (2, classes, 40)).float()  # with ties
    first, second = top_two(values, dim=1)
    expected = values.topk(2, dim=1).values
    assert torch.equal(first, expected[:, 0])
    assert torch.equal(second, expected[:, 1])


@pytest.mark.parametrize("size", SIZES)
def test_sampled_features_can_be_weighted_and_have_their_gradients(size):
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn((2, prod(size), 3), generator=generator, dtype=torch.float64)
    coords = torch.rand((2, 6, len(size)), generator=generator, dtype=torch.float64) * 1.6 - 0.8
    scale = torch.rand((2, 6), generator=generator, dtype=torch.float64)
    weighted = sample_rows(rows, size, coords, scale)
    assert torch.allclose(weighted, scale[..., None] * sample_rows(rows, size, coords))
    one = sample_rows(rows[:1], size, coords, scale)  # one table for all
    assert torch.allclose(one[1], sample_rows(rows[:1], size, coords[1:], scale[1:])[0])
    inputs = [x.requires_grad_() for x in (rows, coords, scale)]
    assert torch.autograd.gradcheck(lambda a, b, c: sample_rows(a, size, b, c), inputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 2])
def test_maps_added_in_one_gather_are_the_sum_of_maps_sampled_one_by_one(size, batch):
    generator = torch.Generator().manual_seed(4)
    sizes = [size, [2 * n for n in size], [1] * len(size)]
    maps = [torch.randn(batch, 3, *s, generator=generator, requires_grad=True) for s in sizes]
    axes = [torch.linspace(-1.1, 0.8, n + 3) for n in size]  # some beyond the border
    count = prod(n + 3 for n in size)
    scales = torch.rand(batch, count, 3, generator=generator, requires_grad=True)
    sampled = [sample_grid(x, axes).flatten(2).transpose(1, 2) for x in maps]
    expected = sum(scales[..., n, None] * x for n, x in enumerate(sampled))
    inputs = [*maps, scales]
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    rows = torch.cat([to_rows(x) for x in maps], dim=1)
    coords = grid_coords(axes).expand(batch, -1, -1)
    for found in (
        sample_maps(rows, sizes, coords, scales), sample_maps_on_grid(rows, sizes, axes, scales)
    ):  # fmt: skip
        assert torch.allclose(found, expected, atol=1e-5)
        gradients = torch.autograd.grad(found.square().sum(), inputs, retain_graph=True)
        for one, other in zip(gradients, wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_many_points_in_few_pixels_is_exact_under_bf16_too():
    generator = torch.Generator().manual_seed(4)
    values = torch.randn((1, 4, 8, 8), generator=generator).bfloat16().requires_grad_()
    coords = torch.rand((1, 8192, 2), generator=generator) * 2 - 1
    sample_rows(to_rows(values), (8, 8), coords).float().sum().backward()
    assert values.grad.float().sum() == pytest.approx(4 * 8192, rel=5e-3)
