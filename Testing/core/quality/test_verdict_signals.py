"""Each signal is the number that one counts by hand."""

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.quality.signals import (
    Region,
    dice_of_classes,
    measure_masks,
)
from MorseCore.result import Structure

SHAPE = (10, 12, 14)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))  # slices of 2 mm
ALL = Region((0, 0, 0), SHAPE)
STRUCTURES = (Structure(1, "Ball", (1, 0, 0), ""), Structure(2, "Rod", (0, 1, 0), ""))


def measured(labels: np.ndarray, region: Region = ALL) -> dict[tuple[str, str], float]:
    found = measure_masks(labels, STRUCTURES, GRID, region)
    return {(item.signal, item.structure): item.value for item in found}


@pytest.fixture
def labels() -> np.ndarray:
    """A ball of 4 x 4 x 4 voxels away from every face."""
    array = np.zeros(SHAPE, np.uint8)
    array[3:7, 4:8, 5:9] = 1
    return array


def test_volumes_are_in_ml_and_what_is_not_there_has_none(labels: np.ndarray) -> None:
    found = measured(labels)
    assert found["volume", "Ball"] == pytest.approx(64 * 2 / 1000)
    assert found["volume", "Rod"] == 0
    assert found["volume", ""] == pytest.approx(0.128)
    assert ("stray", "Rod") not in found


def test_what_lies_apart_from_the_largest_piece_is_stray(labels: np.ndarray) -> None:
    assert measured(labels)["stray", "Ball"] == 0
    labels[0, 0, :16] = 1
    assert measured(labels)["stray", "Ball"] == pytest.approx(14 / 78, abs=1e-4)


def test_pieces_that_touch_by_a_corner_are_one(labels: np.ndarray) -> None:
    labels[7, 8, 9] = 1
    assert measured(labels)["stray", "Ball"] == 0


def test_enclosed_background_is_a_hole_and_another_structure_is_none(labels: np.ndarray) -> None:
    labels[4, 5, 6] = 0
    assert measured(labels)["holes", "Ball"] == pytest.approx(1 / 63, abs=1e-4)
    labels[4, 5, 6] = 2
    assert measured(labels)["holes", "Ball"] == 0


def test_a_face_that_cuts_counts_by_its_area(labels: np.ndarray) -> None:
    assert measured(labels)["contact", "Ball"] == 0
    cut = Region((3, 0, 0), SHAPE)  # the first slice of the ball is the region's first
    assert measured(labels, cut)["contact", "Ball"] == pytest.approx(16 / 128 ** (2 / 3), abs=1e-4)
    side = Region((0, 0, 0), (10, 12, 9))  # a side of four by four voxels of 1 x 2 mm
    assert measured(labels, side)["contact", "Ball"] == pytest.approx(32 / 128 ** (2 / 3), abs=1e-4)


def test_slices_of_their_own_are_not_cut_by_the_first_and_the_last(labels: np.ndarray) -> None:
    assert measured(labels, Region((3, 0, 0), (7, 12, 14), is_flat=True))["contact", "Ball"] == 0


def test_dice_of_classes_leaves_out_what_neither_has() -> None:
    a, b = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    np.testing.assert_allclose(dice_of_classes(a, b, 4), [2 / 3, 2 / 3, np.nan])
