"""SwIPE's grid of patches: which patch holds a point, and which neighbours SPO may take."""

from math import prod

import pytest
import torch

from MorseCore.heads.swipe.patches import (
    draw_neighbours,
    local_coords,
    neighbourhood,
    patch_at,
    patch_grid,
)
from MorseCore.points import grid_coords, pixel_axes


@pytest.mark.parametrize(("size", "stride"), [((8, 12), 4), ((64, 160), 32), ((3, 6, 9), 3)])
def test_every_pixel_lies_in_the_patch_of_its_block_of_s_pixels_first_and_last_included(
    size, stride
):
    grid = patch_grid(size, stride)
    patch = patch_at(grid_coords(pixel_axes(size)), grid).view(size)
    expected = torch.arange(prod(grid)).view(grid)
    for axis in range(len(size)):
        expected = expected.repeat_interleave(stride, dim=axis)
    assert torch.equal(patch, expected)


def test_the_edges_of_the_image_belong_to_the_outermost_patches():
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]])
    assert patch_at(corners, (2, 3)).tolist() == [[0, 2, 3, 5]]


def test_a_size_that_is_no_multiple_of_s_has_patches_of_at_most_s_pixels():
    assert patch_grid((64, 65, 96), 32) == (2, 3, 3)


def test_the_local_coordinate_is_relative_to_the_centre_and_keeps_its_scale():
    # Two by two patches: centres at -0.5 and 0.5. Order (x, y), the last array axis first.
    coords = torch.tensor([[[0.1, -0.9], [0.1, -0.9]]])
    local = local_coords(coords, torch.tensor([[1, 2]]), (2, 2))
    expected = torch.tensor([[[-0.4, -0.4], [0.6, -1.4]]])
    assert torch.allclose(local, expected, atol=1e-6)


def test_a_patch_is_centred_on_its_own_pixels():
    coords = grid_coords(pixel_axes((8, 12)))
    grid = patch_grid((8, 12), 4)
    local = local_coords(coords, patch_at(coords, grid), grid).view(2, 4, 3, 4, 2)
    assert torch.allclose(local.mean((1, 3)), torch.zeros(2, 3, 2), atol=1e-6)
    assert local[..., 0].abs().max().item() == pytest.approx(1.5 / 12 * 2)


@pytest.mark.parametrize(
    ("grid", "con", "expected"),
    [
        ((3, 3), 4, {1, 3, 5, 7}),
        ((3, 3), 8, {0, 1, 2, 3, 5, 6, 7, 8}),
        ((3, 3, 3), 6, {4, 10, 12, 14, 16, 22}),
        ((3, 3, 3), 26, set(range(27)) - {13}),
    ],
)
def test_con_counts_the_neighbours_of_an_inner_patch(grid, con, expected):
    near = neighbourhood(grid, con)
    middle = near.table.shape[0] // 2
    assert near.table.shape[1] == near.count[middle] == con
    assert set(near.table[middle].tolist()) == expected


def test_neighbours_at_the_border_never_lie_outside_nor_on_the_other_side_of_the_grid():
    near = neighbourhood((2, 3), 8)
    there = [set(row[:n].tolist()) for row, n in zip(near.table, near.count, strict=True)]
    assert there == [{1, 3, 4}, {0, 2, 3, 4, 5}, {1, 4, 5}, {0, 1, 4}, {0, 1, 2, 3, 5}, {1, 2, 4}]


def test_spo_draws_every_neighbour_inside_the_grid_alike_and_never_the_patch_itself():
    # Patch 2, a corner of a 2 x 3 grid, has three neighbours; the released code would also
    # answer with the patch itself.
    patch = torch.full((1, 1), 2)
    generator = torch.Generator().manual_seed(0)
    near = neighbourhood((2, 3), 8)
    drawn = draw_neighbours(patch, near, copies=6000, generator=generator)
    assert drawn.shape == (1, 6000, 1)
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == [1, 4, 5]
    assert (counts / 6000 - 1 / 3).abs().max() < 0.03


def test_the_draw_depends_on_the_generator_alone():
    patch, near = torch.randint(0, 6, (2, 20)), neighbourhood((2, 3), 8)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return draw_neighbours(patch, near, copies=3, generator=generator)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_a_grid_of_one_patch_has_no_neighbour_and_spo_stays_there():
    near = neighbourhood((1, 1), 8)
    assert near.count.tolist() == [0]
    assert draw_neighbours(torch.zeros(1, 5, dtype=torch.long), near, copies=2).unique() == 0
    _, there = near.of(torch.zeros(1, 1, dtype=torch.long))
    assert there.sum() == 1
