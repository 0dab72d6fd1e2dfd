"""A block of labels on another grid than the segmentation it is written into."""

import numpy as np
import pytest

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.blocks import toGrid


def finer(geometry: Geometry, times: int) -> Geometry:
    """The same box with ``times`` as many voxels along each axis."""
    matrix = geometry.ijk_to_ras @ np.diag([1 / times, 1 / times, 1 / times, 1.0])
    matrix[:3, 3] = geometry.to_world(np.full(3, (1 / times - 1) / 2))
    k, j, i = (n * times for n in geometry.shape)
    return Geometry((k, j, i), matrix)


def coded(geometry: Geometry) -> np.ndarray:
    """Another label in each of up to 250 voxels in a row."""
    return (np.arange(np.prod(geometry.shape)) % 250).astype(np.uint8).reshape(geometry.shape)


def test_a_block_on_the_same_lattice_is_taken_as_it_is(a_geometry: Geometry) -> None:
    part = a_geometry.crop((2, 3, 1), (6, 8, 11))
    block = toGrid(coded(part), part, a_geometry)
    assert (block.start, block.stop) == ((2, 3, 1), (6, 8, 11))
    np.testing.assert_array_equal(block.labels, coded(part))


def test_a_finer_block_gives_each_voxel_its_most_frequent_label(a_geometry: Geometry) -> None:
    part = a_geometry.crop((2, 3, 4), (3, 4, 5))
    labels = np.array([[[1, 1], [2, 2]], [[2, 0], [2, 0]]], np.uint8)
    block = toGrid(labels, finer(part, 2), a_geometry)
    assert (block.start, block.labels.tolist()) == ((2, 3, 4), [[[2]]])


def test_equally_frequent_labels_give_the_larger_one_so_that_nothing_thin_is_lost(
    a_geometry: Geometry,
) -> None:
    part = a_geometry.crop((2, 3, 4), (3, 4, 5))
    labels = np.array([[[1, 1], [1, 1]], [[0, 0], [0, 0]]], np.uint8)
    assert toGrid(labels, finer(part, 2), a_geometry).labels.tolist() == [[[1]]]


@pytest.mark.parametrize("times", [2, 3])
def test_a_mask_made_finer_comes_back_as_it_was(a_geometry: Geometry, times: int) -> None:
    part = a_geometry.crop((1, 2, 3), (5, 9, 12))
    fine = coded(part).repeat(times, 0).repeat(times, 1).repeat(times, 2)
    block = toGrid(fine, finer(part, times), a_geometry)
    assert block.start == (1, 2, 3)
    np.testing.assert_array_equal(block.labels, coded(part))


def test_a_coarser_block_gives_its_labels_to_all_voxels_inside(a_geometry: Geometry) -> None:
    grid = finer(a_geometry, 2)
    part = a_geometry.crop((2, 3, 4), (4, 5, 6))
    block = toGrid(coded(part), part, grid)
    assert block.start == (4, 6, 8)
    expected = coded(part).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(block.labels, expected)


def test_voxels_that_the_block_covers_in_part_are_left_out(a_geometry: Geometry) -> None:
    fine = finer(a_geometry, 2).crop((3, 0, 0), (9, 20, 24))  # starts in the middle of voxel k=1
    block = toGrid(coded(fine), fine, a_geometry)
    assert (block.start[0], block.stop[0]) == (2, 4)


def test_what_lies_outside_of_the_segmentation_is_cut_off(a_geometry: Geometry) -> None:
    matrix = a_geometry.ijk_to_ras.copy()
    matrix[:3, 3] = a_geometry.to_world(np.array([-2.0, 0.0, 5.0]))
    wider = Geometry((6, 10, 12), matrix)
    block = toGrid(coded(wider), wider, a_geometry)
    assert (block.start, block.stop) == ((5, 0, 0), (8, 10, 10))
    np.testing.assert_array_equal(block.labels, coded(wider)[:3, :, 2:])


def test_a_block_beside_the_segmentation_is_an_error(a_geometry: Geometry) -> None:
    matrix = a_geometry.ijk_to_ras.copy()
    matrix[:3, 3] = a_geometry.to_world(np.array([50.0, 0.0, 0.0]))
    aside = Geometry((2, 2, 2), matrix)
    with pytest.raises(GeometryError, match="does not lie within"):
        toGrid(coded(aside), aside, a_geometry)


def test_a_turned_block_is_an_error(a_geometry: Geometry) -> None:
    with pytest.raises(GeometryError, match="is rotated against"):
        toGrid(np.zeros((4, 4, 4), np.uint8), Geometry((4, 4, 4), np.eye(4)), a_geometry)
