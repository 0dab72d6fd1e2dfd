"""What the structures of a whole brain say together: they are one piece, and fill a skull.

Which structures are a whole brain's is told by FreeSurfer's numbers
(:func:`MorseCore.result.brain_values`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.result import Structure, brain_values

__all__ = ["keep_one_piece", "measure_brain", "volumes_of"]

_BLOCK = 2.0  # mm; pieces are told apart on blocks of voxels, which are quick to label


def keep_one_piece(maps: Sequence[np.ndarray], grid: Geometry) -> np.ndarray:
    """Clear all that lies apart from the largest piece of all structures, in every map alike.

    Less than two blocks of 2 mm apart is together. What one map connects is together in all.

    :param maps: (K, J, I) labels, which are changed.
    :return: (N,) the voxels that were cleared, as places in the flat grid.
    """
    step = [max(1, int(_BLOCK / mm + 1e-3)) for mm in grid.spacing[::-1]]
    blocks = np.logical_or.reduce([labels > 0 for labels in maps])
    for axis, n in enumerate(step):
        blocks = _any_of(blocks, n, axis)
    pieces, count = ndimage.label(blocks)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    apart = blocks & (pieces != sizes.argmax()) if count > 1 else np.zeros_like(blocks)
    first = np.argwhere(apart) * step
    inside = np.stack(np.meshgrid(*map(np.arange, step), indexing="ij"), axis=-1).reshape(-1, 3)
    voxels = (first[:, None] + inside).reshape(-1, 3)
    k, j, i = voxels[(voxels < grid.shape).all(axis=1)].T
    has_label = np.logical_or.reduce([labels[k, j, i] > 0 for labels in maps])
    for labels in maps:
        labels[k, j, i] = 0
    cleared: np.ndarray = np.ravel_multi_index((k, j, i), grid.shape)[has_label]
    return cleared


def _any_of(mask: np.ndarray, n: int, axis: int) -> np.ndarray:
    """Blocks of ``n`` voxels along an axis; with slices twice as quick as by ``reduceat``."""
    rows = np.moveaxis(mask, axis, 0)
    blocks = rows[::n].copy()
    for shift in range(1, n):
        part = rows[shift::n]
        blocks[: len(part)] |= part
    return np.moveaxis(blocks, 0, axis)


def measure_brain(
    labels: np.ndarray, volumes: Mapping[int, float], structures: Sequence[Structure]
) -> dict[str, Any]:
    """Volumes of a whole brain's map, for ``report.json``.

    The intracranial volume is an estimate: the brain and the fluid around it, for no structure is
    the skull. Where a structure reaches the image's edge, both are of what is in the image.

    :param labels: (K, J, I).
    :param volumes: ml by label.
    """
    faces = (labels.take(n, axis) for axis in range(labels.ndim) for n in (0, -1))
    inside = [item.value for item in structures if item.freesurfer]
    return {
        "brain_ml": round(sum(volumes[value] for value in brain_values(structures)), 3),
        "intracranial_ml": round(sum(volumes[value] for value in inside), 3),
        "at_edge": any(bool(face.any()) for face in faces),
    }


def volumes_of(
    labels: np.ndarray, grid: Geometry, structures: Sequence[Structure]
) -> dict[int, float]:
    """ml by label of a map (K, J, I)."""
    most = max(item.value for item in structures)
    counts = np.bincount(labels.ravel(), minlength=most + 1) * grid.voxel_volume / 1000
    return dict(enumerate(counts.tolist()))
