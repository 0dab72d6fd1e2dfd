"""What the rendering changed in each structure."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.metrics.surface import image_diagonal, surface_distance_steps
from MorseCore.result import Structure
from MorseCore.system.steps import finished

__all__ = ["compare_masks", "format_changes", "structure_change_steps"]


def compare_masks(
    coarse: np.ndarray, refined: np.ndarray, *, geometry: Geometry, structures: Sequence[Structure]
) -> list[dict[str, Any]]:
    """One row a structure: volumes in ml, voxels added and removed, boundary shift in mm.

    :param coarse: (K, J, I) labels before rendering; ``refined``: after.
    """

    def row(structure: Structure) -> dict[str, Any]:
        # A box saves memory: two masks of the whole scan are never held, and those of one structure
        # are freed before the next one's are made.
        box = _box(coarse, refined, structure.value)
        before, after = coarse[box] == structure.value, refined[box] == structure.value
        return finished(
            structure_change_steps(before, after, geometry=geometry, structure=structure)
        )

    return [row(structure) for structure in structures]


def _box(coarse: np.ndarray, refined: np.ndarray, value: int) -> tuple[slice, slice, slice]:
    """All voxels of a label in either map, and a voxel around them where the image has one."""
    k, j, i = (np.zeros(n, dtype=bool) for n in coarse.shape)
    for row in range(len(k)):
        hit = (coarse[row] == value) | (refined[row] == value)
        k[row] = hit.any()
        j |= hit.any(axis=1)
        i |= hit.any(axis=0)
    return _span(k), _span(j), _span(i)


def _span(hit: np.ndarray) -> slice:
    found = np.flatnonzero(hit)
    return slice(max(0, int(found[0]) - 1), int(found[-1]) + 2) if len(found) else slice(0, 1)


def structure_change_steps(
    before: np.ndarray, after: np.ndarray, *, geometry: Geometry, structure: Structure
) -> Generator[None, None, dict[str, Any]]:
    """One row of :func:`compare_masks`, which it returns, in steps of some ten milliseconds.

    :param before: (K, J, I) bool, of a box that holds all voxels of the structure; ``after``: same.
    :param geometry: grid of the whole image: where a structure is lost, its shift is the diagonal.
    """
    spacing, voxel = geometry.spacing[::-1], geometry.voxel_volume / 1000  # array order; ml
    # Row by row: the third mask of a box that may be the whole scan is never held.
    kept = sum(int(np.count_nonzero(a & b)) for a, b in zip(before, after, strict=True))
    old, new = int(np.count_nonzero(before)), int(np.count_nonzero(after))
    yield
    distances = yield from surface_distance_steps(before, after, spacing)
    if (old == 0) != (new == 0):
        mean = p95 = image_diagonal(geometry.shape, spacing)
    else:
        mean, p95 = distances.assd, distances.hd95
    return {
        "value": structure.value,
        "name": structure.name,
        "coarse_ml": round(old * voxel, 4),
        "refined_ml": round(new * voxel, 4),
        "change_ml": round((new - old) * voxel, 4),
        "change_percent": round(100 * (new - old) / old, 2) if old else None,
        "added_voxels": new - kept,
        "removed_voxels": old - kept,
        "shift_mean_mm": round(mean, 4),
        "shift_p95_mm": round(p95, 4),
    }


def format_changes(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as an aligned table for a terminal."""
    lines = [("structure", "coarse ml", "refined ml", "change ml", "added", "removed", "shift mm")]
    for row in rows:
        numbers = (
            f"{row['coarse_ml']:.3f}",
            f"{row['refined_ml']:.3f}",
            f"{row['change_ml']:+.3f}",
            str(row["added_voxels"]),
            str(row["removed_voxels"]),
            f"{row['shift_mean_mm']:.3f} (95 %: {row['shift_p95_mm']:.3f})",
        )
        lines.append((row["name"], *numbers))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
