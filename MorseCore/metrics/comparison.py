"""What the rendering changed in each structure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.metrics.surface import image_diagonal, surface_distances
from MorseCore.result import Structure

__all__ = ["compare_masks", "format_changes", "structure_change"]


def compare_masks(
    coarse: np.ndarray, refined: np.ndarray, *, geometry: Geometry, structures: Sequence[Structure]
) -> list[dict[str, Any]]:
    """One row a structure: volumes in ml, voxels added and removed, boundary shift in mm.

    :param coarse: (K, J, I) labels before rendering; ``refined``: after.
    """

    boxes = _boxes(coarse, refined, max((s.value for s in structures), default=0))

    def row(structure: Structure) -> dict[str, Any]:
        # A box saves memory: two masks of the whole scan are never held, and those of one structure
        # are freed before the next one's are made.
        box = boxes[structure.value]
        before, after = coarse[box] == structure.value, refined[box] == structure.value
        return structure_change(before, after, geometry=geometry, structure=structure)

    return [row(structure) for structure in structures]


def _boxes(coarse: np.ndarray, refined: np.ndarray, count: int) -> list[tuple[slice, ...]]:
    """For each label all its voxels in either map, and a voxel around them where the image has one.

    :param count: the largest label; the list's first item is background's, and empty.
    """
    nothing: tuple[slice, ...] = (slice(0, 1),) * 3
    boxes: list[tuple[slice, ...]] = [nothing] * (count + 1)
    maps = (coarse,) if coarse is refined else (coarse, refined)
    pairs = (ndimage.find_objects(labels, max_label=count) for labels in maps)
    for value, found in enumerate(zip(*pairs, strict=True), start=1):
        places = [place for place in found if place is not None]
        if places:
            boxes[value] = tuple(
                slice(max(0, min(s.start for s in axis) - 1), max(s.stop for s in axis) + 1)
                for axis in zip(*places, strict=True)
            )
    return boxes


def structure_change(
    before: np.ndarray, after: np.ndarray, *, geometry: Geometry, structure: Structure
) -> dict[str, Any]:
    """One row of :func:`compare_masks`.

    :param before: (K, J, I) bool, of a box that holds all voxels of the structure; ``after``: same.
    :param geometry: grid of the whole image: where a structure is lost, its shift is the diagonal.
    """
    spacing, voxel = geometry.spacing[::-1], geometry.voxel_volume / 1000  # array order; ml
    # Row by row: the third mask of a box that may be the whole scan is never held.
    kept = sum(int(np.count_nonzero(a & b)) for a, b in zip(before, after, strict=True))
    old, new = int(np.count_nonzero(before)), int(np.count_nonzero(after))
    if (old == 0) != (new == 0):
        mean = p95 = image_diagonal(geometry.shape, spacing)
    elif kept == old == new:  # a plain head changes nothing
        mean = p95 = 0.0
    else:
        distances = surface_distances(before, after, spacing)
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
