"""What the rendering changed, structure by structure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.result import Structure
from MorseCore.surface import boundary_shift

__all__ = ["compare_masks", "format_changes"]


def compare_masks(
    coarse: np.ndarray, refined: np.ndarray, *, geometry: Geometry, structures: Sequence[Structure]
) -> list[dict[str, Any]]:
    """One row a structure: volumes in ml, voxels added and removed, boundary shift in mm.

    :param coarse: (K, J, I) labels before rendering; ``refined``: after.
    """
    spacing, voxel = geometry.spacing[::-1], geometry.voxel_volume / 1000  # array order; ml
    rows = []
    for structure in structures:
        before, after = coarse == structure.value, refined == structure.value
        mean, p95 = boundary_shift(before, after, spacing)
        volume = int(before.sum()) * voxel
        change = (int(after.sum()) - int(before.sum())) * voxel
        rows.append(
            {
                "value": structure.value,
                "name": structure.name,
                "coarse_ml": round(volume, 4),
                "refined_ml": round(volume + change, 4),
                "change_ml": round(change, 4),
                "change_percent": round(100 * change / volume, 2) if volume else None,
                "added_voxels": int((after & ~before).sum()),
                "removed_voxels": int((before & ~after).sum()),
                "shift_mean_mm": round(mean, 4),
                "shift_p95_mm": round(p95, 4),
            }
        )
    return rows


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
