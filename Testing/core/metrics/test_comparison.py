"""What rendering changed is measured in the structures' own boxes, as in the whole image."""

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.metrics import surface
from MorseCore.metrics.comparison import compare_masks, structure_change
from MorseCore.result import Structure

GRID = Geometry((9, 12, 14), np.diag([0.7, 1.1, 2.0, 1.0]))
STRUCTURES = [Structure(n, f"S{n}", (1.0, 0.0, 0.0)) for n in (1, 2, 3)]


@pytest.mark.parametrize("corner", [(0, 0, 0), (3, 4, 5), (5, 7, 9)])
def test_a_structure_is_compared_as_in_the_whole_image(corner: tuple[int, int, int]) -> None:
    # At the first voxels, in the middle, and up to the last ones of the image.
    coarse = np.zeros(GRID.shape, np.uint8)
    k, j, i = corner
    coarse[k : k + 4, j : j + 5, i : i + 5] = 1
    refined = coarse.copy()
    refined[k, j : j + 2, i : i + 3] = 0
    refined[k + 3, j + 1 : j + 3, i] = 2  # found by rendering alone; 3 is in neither
    rows = compare_masks(coarse, refined, geometry=GRID, structures=STRUCTURES)
    for row, structure in zip(rows, STRUCTURES, strict=True):
        before, after = coarse == structure.value, refined == structure.value
        assert row == structure_change(before, after, geometry=GRID, structure=structure)
    assert rows[0]["removed_voxels"] == 8
    assert rows[1]["added_voxels"] == 2
    assert rows[2]["refined_ml"] == 0


@pytest.mark.parametrize("shape", [(13, 9, 7), (40, 30)])
def test_surfaces_found_some_rows_at_a_time_are_those_of_the_whole(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < share for share in (0.9, 0.8)]
    whole = surface.surface_distances(*masks, [1.0] * len(shape))
    for rows in (1, 3, 5):
        monkeypatch.setattr(surface, "_VOXELS", rows * masks[0][0].size)
        pieces = surface.surface_distances(*masks, [1.0] * len(shape))
        np.testing.assert_array_equal(pieces.to_target, whole.to_target)
        np.testing.assert_array_equal(pieces.to_prediction, whole.to_prediction)
