"""Adaptive subdivision: logits are doubled, the unsure are asked anew."""

import pytest
import torch

from MorseCore.field import Field
from MorseCore.points import grid_coords, pixel_axes
from MorseCore.renderers import DenseConfig, SubdivideConfig
from networks import Disc, make_image, make_network
from oracles import Painted, ball


class Ramp(Field):
    """Logits that rise linearly along x and y: interpolation of logits, and of nothing else, is
    exact. The boundary x + 0.3 y = 0.13 passes where no pixel edge is."""

    device = torch.device("cpu")
    batch = 1

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.asked: list[torch.Tensor] = []

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        height = coords[..., 0] + 0.3 * coords[..., 1] - 0.13
        return torch.stack([-height, height], dim=-1)

    def logits(self, coords: torch.Tensor) -> torch.Tensor:
        self.asked.append(coords[0])
        return self.coarse(coords)

    def memory(self) -> int:
        return 0


@pytest.mark.parametrize("size", [(32, 32), (30, 27), (33, 35)])
def test_what_is_doubled_are_logits_not_labels(size):
    """Sides that are no multiples are divided evenly too: a grid cut off would be shifted."""
    field = Ramp(size)
    result = SubdivideConfig(points=0).build().render(field)
    truth = field.coarse_grid(field.pixels())
    inner = (..., slice(4, -4), slice(4, -4))  # beyond the first centres nothing can be known
    assert torch.allclose(result.refined[inner], truth[inner], atol=1e-5)
    assert torch.allclose(result.coarse[inner], truth[inner], atol=1e-5)
    assert torch.equal(result.refined[inner].argmax(1), truth[inner].argmax(1))


@pytest.mark.parametrize("dims", [2, 3])
def test_with_as_many_points_as_pixels_it_is_dense(dims):
    field = make_network("unet" if dims == 2 else "unet3d", dims=dims)(make_image(dims))
    result = SubdivideConfig(points=10**6).build().render(field)
    assert torch.allclose(result.refined, DenseConfig().build().render(field).refined, atol=1e-5)


def test_each_level_asks_its_own_cell_centres():
    field = Ramp((16, 16))
    result = SubdivideConfig(points=16, stride=8).build().render(field)
    assert [len(coords) for coords in field.asked] == [16, 16, 16]
    for cells, coords in zip((4, 8, 16), field.asked, strict=True):
        steps = (coords + 1) * cells / 2 - 0.5
        assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert result.evaluations == 48
    last = grid_coords(field.pixels())[0][result.index[0]]
    assert torch.allclose(last, field.asked[-1])


def test_a_small_first_grid_has_no_more_points_than_cells():
    result = SubdivideConfig(points=50, stride=4).build().render(Ramp((8, 8)))
    assert result.evaluations == 16 + 50


def test_the_points_lie_at_the_boundary():
    field = Ramp((32, 32))
    SubdivideConfig(points=20).build().render(field)
    for coords in field.asked:
        height = coords[:, 0] + 0.3 * coords[:, 1] - 0.13
        assert height.abs().max() < 0.15


@pytest.mark.parametrize("dims", [2, 3])
def test_few_points_find_what_the_first_grid_misses(dims):
    size = (40, 36, 32)[:dims]
    field = Painted(ball(size, 11, (18.2, 16.4, 15.1)[:dims]).long()[None])
    result = SubdivideConfig(points=400 if dims == 2 else 9000).build().render(field)
    wrong = [(x.argmax(1) != field.labels).sum() for x in (result.coarse, result.refined)]
    assert wrong[0] > 0
    assert wrong[1] == 0
    assert result.evaluations < 2 * field.labels.numel() / 3


def test_a_finer_part_of_the_image_is_divided_like_the_whole():
    rows, columns = pixel_axes((128, 128))
    axes = (rows[20:93], columns[11:100])
    result = SubdivideConfig(points=2000).build().render(Disc(), axes)
    dense = DenseConfig().build().render(Disc(), axes).refined
    assert torch.equal(result.refined.argmax(1), dense.argmax(1))
    assert not torch.equal(result.coarse.argmax(1), dense.argmax(1))  # the disc's coarse answer
