"""MISE finds what the field would say everywhere, and asks at few places."""

import pytest
import torch

from MorseCore.points import pixel_axes
from MorseCore.renderers import DenseConfig, MiseConfig, ReleasedMiseConfig, Rendering
from networks import Disc
from oracles import Painted, ball, dice


def mise(field: Painted, **options: object) -> Rendering:
    return MiseConfig(**options).build().render(field)  # type: ignore[arg-type]


def found(result: Rendering) -> torch.Tensor:
    return result.refined.argmax(1)


def two_images(dims: int) -> Painted:
    """A nest of two balls and, in a corner, a third; and an image of nothing. Odd sides."""
    size = (33, 30, 27)[:dims]
    image = torch.zeros(size, dtype=torch.long)
    image[ball(size, 10, (14.2, 13.7, 13.1)[:dims])] = 1
    image[ball(size, 5, (15, 15, 15)[:dims])] = 2
    image[ball(size, 6, [n - 1 for n in size])] = 2
    return Painted(torch.stack([image, torch.zeros_like(image)]), classes=3)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_label_is_that_of_asking_everywhere(dims, stride):
    field = two_images(dims)
    result = mise(field, stride=stride)
    assert torch.equal(found(result), field.labels)
    total = field.labels.numel()
    assert result.evaluations < 0.6 * total or stride == 1
    assert result.evaluations == sum(len(set(row.tolist())) for row in result.index)


@pytest.mark.parametrize(
    ("radius", "released"), [(5, 0.948), (10, 0.981), (40, 0.995), (100, 0.998)]
)
def test_the_released_short_cut_loses_boundary_and_mise_does_not(radius, released):
    """DSC with a perfect field. One disc's depends on where it lies between the samples, so it is
    the mean over the 16 places; the constants are those measured on the released code."""
    side = 2 * radius + 16
    centre = side // 2
    places = [(centre + n // 4, centre + n % 4) for n in range(16)]
    field = Painted(torch.stack([ball((side, side), radius, place) for place in places]))
    theirs = ReleasedMiseConfig().build().render(field)
    scores = [dice(a == 1, b == 1) for a, b in zip(found(theirs), field.labels, strict=True)]
    assert sum(scores) / 16 == pytest.approx(released, abs=0.006)
    assert max(scores) < 1.0
    assert torch.equal(found(mise(field)), field.labels)


def test_a_wider_dilation_repairs_the_short_cut_but_asks_the_whole_interior():
    field = Painted(ball((384, 384), 100, (192, 192))[None])
    wide = ReleasedMiseConfig(width=7).build().render(field)
    assert torch.equal(found(wide), field.labels)
    ours = mise(field)
    pixels = 384**2
    assert wide.evaluations / pixels == pytest.approx(0.27, abs=0.01)
    assert ours.evaluations / pixels == pytest.approx(0.105, abs=0.01)
    assert mise(field, stride=8).evaluations / pixels == pytest.approx(0.065, abs=0.01)


def test_an_object_in_the_last_row_and_column_is_seen():
    """30 is no multiple of 4: a lattice of multiples alone would end at pixel 28."""
    labels = torch.zeros(1, 30, 30)
    labels[:, 29:, 20:] = 1
    field = Painted(labels)
    assert torch.equal(found(mise(field)), field.labels)


def test_a_hole_that_holds_a_point_of_the_lattice_is_seen():
    labels = ball((32, 32), 14, (16, 16)).long()[None]
    labels[:, 16, 16] = 0
    assert torch.equal(found(mise(Painted(labels))), labels)


def disc_with_a_thread() -> Painted:
    labels = ball((64, 64), 8, (20, 20)).long()
    labels[21, 20:60] = 1  # one pixel wide, between the rows 20 and 24
    return Painted(labels[None])


def test_a_thread_that_leaves_a_found_object_is_followed_to_its_end():
    field = disc_with_a_thread()
    assert torch.equal(found(mise(field)), field.labels)


def test_without_following_a_thread_ends_where_no_corner_disagrees():
    field = disc_with_a_thread()
    lost = (found(mise(field, follow=False)) != field.labels)[0].nonzero()
    assert len(lost) > 10
    assert set(lost[:, 0].tolist()) == {21}


def test_a_plate_between_two_organs_is_found_through_the_cells_that_they_mark():
    labels = torch.zeros(1, 24, 24, 24)
    labels[0, 2:10, 4:20, 4:20] = 1
    labels[0, 10, 4:20, 4:20] = 2  # one voxel thick, touching both, no lattice point in it
    labels[0, 11:20, 4:20, 4:20] = 1
    field = Painted(labels, classes=3)
    assert torch.equal(found(mise(field)), field.labels)


def test_an_isolated_plate_between_lattice_points_needs_a_smaller_stride():
    labels = torch.zeros(1, 24, 24, 24)
    labels[0, 6, 3:21, 3:21] = 1  # 6 is a multiple of 2 but not of 4
    field = Painted(labels)
    assert found(mise(field, stride=4)).sum() == 0  # as documented
    assert torch.equal(found(mise(field, stride=2)), field.labels)


def test_the_coarse_map_is_the_first_lattice_interpolated():
    field = two_images(2)
    result = mise(field, stride=4)
    assert torch.equal(result.coarse[:, :, ::4, ::4].argmax(1), field.labels[:, ::4, ::4])
    middle = (result.coarse[:, :, 0, 8] + result.coarse[:, :, 0, 12]) / 2
    assert torch.allclose(result.coarse[:, :, 0, 10], middle, atol=1e-4)
    assert not torch.equal(result.coarse.argmax(1), field.labels)


def test_the_rows_of_an_image_that_needs_fewer_points_repeat_one_of_its_own():
    field = two_images(2)
    result = mise(field, stride=4)
    lattice = {30 * y + x for y in range(0, 33, 4) for x in (*range(0, 30, 4), 29)}
    assert set(result.index[1].tolist()) == lattice
    assert len(set(result.index[0].tolist())) == result.index.shape[1] > len(lattice)


def test_a_part_of_the_image_at_a_finer_grid_is_as_asked_everywhere():
    rows, columns = pixel_axes((96, 96))
    axes = (rows[13:60], columns[40:95])
    result = MiseConfig().build().render(Disc(), axes)
    dense = DenseConfig().build().render(Disc(), axes)
    assert torch.equal(result.refined.argmax(1), dense.refined.argmax(1))
    assert result.evaluations < 0.4 * dense.evaluations


def test_an_axis_of_one_pixel_has_one_cell():
    labels = ball((1, 20, 20), 6, (0, 9, 11)).long()[None]
    assert torch.equal(found(mise(Painted(labels))), labels)
