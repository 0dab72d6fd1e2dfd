"""The figures near an outline: errors in a band, surface Dice, what the truth there would give."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from Training.research.study.outlinepicture import draw_outlines, longest_slice
from Training.research.study.outlines import (
    CEILINGS,
    follow_outline,
    on_outline,
    with_truth_near,
)

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture
def cube() -> np.ndarray:
    """A cube of 8 voxels an axis, label 1, in 24 slices of 24 x 24."""
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[8:16, 8:16, 8:16] = 1
    return labels


def test_both_sides_of_a_border_lie_on_the_outline(cube: np.ndarray) -> None:
    outline = on_outline(cube)
    assert outline[8, 8, 8]
    assert outline[12, 12, 7]
    assert outline[12, 12, 8]
    assert not outline[12, 12, 9]
    assert not outline[12, 12, 6]


def test_a_perfect_mask_has_no_error_and_agrees_everywhere(cube: np.ndarray) -> None:
    found = follow_outline(cube, cube, [1], SPACING)
    assert (found["dice"], found["hd95"], found["band_error"]) == (1, 0, 0)
    assert (found["surface_0.5"], found["surface_1.0"]) == (1, 1)


def test_an_outline_one_millimetre_off_agrees_within_one_millimetre_only(cube: np.ndarray) -> None:
    moved = np.roll(cube, 1, axis=2)
    found = follow_outline(moved, cube, [1], SPACING)
    assert found["surface_1.0"] == 1
    assert found["surface_0.5"] < 1
    wrong = np.count_nonzero(moved != cube)
    assert wrong == 2 * 8 * 8
    assert 0 < found["band_error"] < 0.2


def test_errors_far_from_the_outline_do_not_count_in_the_band(cube: np.ndarray) -> None:
    holed = cube.copy()
    holed[1, 1, 1] = 1
    assert follow_outline(holed, cube, [1], SPACING)["band_error"] == 0


def test_a_structure_that_is_missed_agrees_nowhere(cube: np.ndarray) -> None:
    found = follow_outline(np.zeros_like(cube), cube, [1], SPACING)
    assert (found["dice"], found["surface_1.0"]) == (0, 0)


def test_the_truth_near_the_masks_outline_mends_what_lies_there_and_no_more(
    cube: np.ndarray,
) -> None:
    mask = np.zeros_like(cube)
    mask[8:16, 8:16, 6:14] = 1  # two voxels too far to the left
    errors = [np.count_nonzero(with_truth_near(mask, cube, n) != cube) for n in CEILINGS]
    whole = np.count_nonzero(mask != cube)
    assert whole > errors[0] > errors[1] == errors[2] == 0


def test_an_empty_mask_has_no_outline_to_mend(cube: np.ndarray) -> None:
    empty = np.zeros_like(cube)
    assert not with_truth_near(empty, cube, 3).any()


def test_the_slice_with_the_longest_outline_is_drawn_with_a_panel_for_each_mask(
    cube: np.ndarray, tmp_path: Path
) -> None:
    cube[12, 4:20, 4:20] = 2
    assert longest_slice(cube) == 12
    image = np.random.default_rng(0).normal(size=cube.shape) + cube
    masks = {"coarse": np.roll(cube, 2, axis=2), "refined": cube}
    draw_outlines(tmp_path / "a.png", image, masks, cube, spacing=SPACING)
    draw_outlines(tmp_path / "b.png", image, {"refined": cube}, cube, spacing=SPACING)
    wide, narrow = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert wide.GetWidth() > 1.3 * narrow.GetWidth()
