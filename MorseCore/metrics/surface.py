"""Distances between the surfaces of two masks, in mm; numpy and scipy only.

Masks are boolean arrays of any dimension; ``spacing`` is in **array order**, (K, J, I) in 3D:
``geometry.spacing[::-1]``. A surface voxel is a mask voxel with a face neighbour outside the mask;
beyond the image everything is outside, so a mask cut by the image border has a surface there (the
definitions of MONAI and MedPy).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from MorseCore.errors import GeometryError

__all__ = [
    "SurfaceDistances",
    "crop_to_foreground",
    "image_diagonal",
    "surface_distances",
]

_VOXELS = 1 << 22  # looked through at once


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of each surface voxel of one mask to the nearest of the other, both ways, in mm.

    If both masks are empty, each array is a single 0. If exactly one is, each is a single inf. So
    every measure below has a value.
    """

    to_target: np.ndarray
    """(P,) float64, from the prediction's surface."""
    to_prediction: np.ndarray
    """(Q,) float64, from the target's surface."""

    @property
    def hd95(self) -> float:
        """Larger of the two 95th percentiles (MONAI; MedPy pools both directions instead)."""
        return max(float(np.percentile(d, 95)) for d in (self.to_target, self.to_prediction))

    @property
    def asd(self) -> float:
        """Mean distance from the prediction to the target, one way (ASD of MORSE)."""
        return float(self.to_target.mean())

    @property
    def assd(self) -> float:
        """Mean over all surface voxels of both masks (MONAI's symmetric ASD)."""
        return float(np.concatenate([self.to_target, self.to_prediction]).mean())


def surface_distances(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between two masks of one shape, both ways.

    Axes of one voxel are left out, so that a single slice is measured as the 2D image it is: in 3D
    each of its voxels would be surface.

    :param spacing: voxel size in mm, in array order.
    :raises GeometryError: if the masks differ in shape or the spacing does not fit them.
    """
    _check(prediction, target, spacing)
    scale = np.asarray(
        [s for s, n in zip(spacing, prediction.shape, strict=True) if n > 1] or [1.0]
    )
    shape = [n for n in prediction.shape if n > 1] or [-1]
    prediction, target = crop_to_foreground(
        np.asarray(prediction, bool).reshape(shape), np.asarray(target, bool).reshape(shape)
    )
    filled = bool(prediction.any()), bool(target.any())
    if not all(filled):
        nothing = np.array([np.inf if any(filled) else 0.0])
        return SurfaceDistances(nothing, nothing)
    edges, others = _surface(prediction), _surface(target)
    # A voxel on both surfaces is at distance 0 and needs no search.
    flat = [np.ravel_multi_index(tuple(found.T), prediction.shape) for found in (edges, others)]
    to_target = _nearest(edges, others, scale, apart=_missing(*flat))
    to_prediction = _nearest(others, edges, scale, apart=_missing(*flat[::-1]))
    return SurfaceDistances(to_target, to_prediction)


def image_diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Length in mm from one outer corner of the grid to the opposite one."""
    return float(np.linalg.norm(np.asarray(shape) * np.asarray(spacing)))


def crop_to_foreground(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Views of both arrays inside the smallest box that holds every non-zero voxel of either.

    Surfaces stay what they were, since outside the box there is only background. An axis of several
    voxels keeps two of them at least: one of a single voxel makes an image flat (see
    :func:`surface_distances`), and a volume is none even if it has labels in one slice only.
    """
    window = []
    for axis, count in enumerate(first.shape):
        others = tuple(a for a in range(first.ndim) if a != axis)
        places = np.flatnonzero(first.any(axis=others) | second.any(axis=others))
        if not len(places):
            window.append(slice(0, 0))
            continue
        start = int(places[0])
        stop = min(count, max(int(places[-1]) + 1, start + 2))
        window.append(slice(max(0, min(start, stop - 2)), stop))
    return first[tuple(window)], second[tuple(window)]


def _surface(mask: np.ndarray) -> np.ndarray:
    """(P, D) places of voxels with a face neighbour outside, in the order of the array.

    Some rows at a time: of a whole body no second mask is held.
    """
    rows = max(1, _VOXELS // max(1, mask[0].size))
    found = []
    for first in range(0, len(mask), rows):
        low = max(0, first - 1)  # with a row on either side, whose own neighbours are not known
        edges = _edges(mask[low : first + rows + 1])[first - low :][:rows]
        places = np.argwhere(edges)
        places[:, 0] += first
        found.append(places)
    return np.concatenate(found)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbour outside; same shape."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        inside, source = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        inside[1:] &= source[:-1]
        inside[:-1] &= source[1:]
        inside[0] = inside[-1] = False
    return mask & ~inner


def _missing(numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bool: which of the numbers the others lack; both ascend, as places in the array's order do.

    ``np.isin`` took 2 s for a cortex of 600,000 such places, and kept Python's lock meanwhile.
    """
    at = np.minimum(np.searchsorted(others, numbers), len(others) - 1)
    missing: np.ndarray = others[at] != numbers
    return missing


def _nearest(
    points: np.ndarray, others: np.ndarray, scale: np.ndarray, *, apart: np.ndarray
) -> np.ndarray:
    """(P,) mm from each place to the nearest of ``others``; neither is empty.

    :param apart: (P,) bool, which are to be searched for; the rest is at distance 0.
    """
    distances = np.zeros(len(points))
    if apart.any():
        # Larger leaves than scipy's default of 16 build faster.
        tree = cKDTree(others * scale, leafsize=32)
        distances[apart] = tree.query(points[apart] * scale)[0]
    return distances


def _check(prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> None:
    if prediction.shape != target.shape:
        raise GeometryError(
            f"Two masks to compare must have one shape; "
            f"found {prediction.shape} and {target.shape}."
        )
    if len(spacing) != prediction.ndim or not all(0 < s < np.inf for s in spacing):
        raise GeometryError(
            f"A mask of {prediction.ndim} dimensions needs as many positive voxel sizes; "
            f"found {tuple(spacing)}."
        )
