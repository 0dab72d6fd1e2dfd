"""A rendered block on the grid of a segmentation: where it lies, and its labels there."""

from dataclasses import dataclass

import numpy as np

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry

__all__ = ["Block", "coveredBox", "toGrid", "votesOf"]

_Index = tuple[int, int, int]
_TOUCH = 1e-3  # voxels by which two grids may differ and still be the same


@dataclass(frozen=True, eq=False)
class Block:
    """A box of labels within a larger grid."""

    start: tuple[int, int, int]
    """First voxel of the box in the grid, (K, J, I)."""
    labels: np.ndarray
    """(K, J, I) integers."""

    @property
    def stop(self) -> _Index:
        """One past the last voxel, (K, J, I)."""
        k, j, i = (a + n for a, n in zip(self.start, self.labels.shape, strict=True))
        return k, j, i


def toGrid(labels: np.ndarray, geometry: Geometry, grid: Geometry) -> Block:
    """Labels of ``geometry`` at the voxels of ``grid`` that lie wholly inside.

    On one lattice the labels are taken as they are. From a finer lattice each voxel gets the label
    that fills most of it, of equally frequent ones the largest; into a finer one the nearest.

    :param labels: (K, J, I) on ``geometry``, both in the same RAS.
    :raises GeometryError: if the grids are turned against each other or do not overlap.
    """
    steps = _steps(geometry, grid)
    first = grid.to_index(geometry.to_world(np.full(3, -0.5)))
    start, stop = (np.array(corner[::-1]) for corner in coveredBox(geometry, grid))
    samples = _samples(steps)
    axes = [
        _sourceIndices(axis, start, stop, samples, first, steps, geometry.shape[::-1])
        for axis in range(3)
    ]
    taken = labels[np.ix_(axes[2], axes[1], axes[0])]
    k, j, i = (int(n) for n in (stop - start)[::-1])
    sk, sj, si = (int(n) for n in samples[::-1])
    votes = taken.reshape(k, sk, j, sj, i, si).transpose(0, 2, 4, 1, 3, 5).reshape(k, j, i, -1)
    return Block(tuple(int(n) for n in start[::-1]), _majority(votes))


def coveredBox(geometry: Geometry, grid: Geometry) -> tuple[_Index, _Index]:
    """The voxels of ``grid`` that lie wholly inside ``geometry``: start and stop, (K, J, I).

    :raises GeometryError: if the grids are turned against each other or do not overlap.
    """
    first = grid.to_index(geometry.to_world(np.full(3, -0.5)))
    last = first + _steps(geometry, grid) * geometry.shape[::-1]
    size = np.asarray(grid.shape[::-1])
    start = np.clip(np.ceil(first + 0.5 - _TOUCH), 0, size).astype(int)
    stop = np.clip(np.floor(last + 0.5 + _TOUCH), 0, size).astype(int)
    if (start >= stop).any():
        raise GeometryError("The rendered block does not lie within the segmentation.")
    (i0, j0, k0), (i1, j1, k1) = start.tolist(), stop.tolist()
    return (k0, j0, i0), (k1, j1, i1)


def votesOf(geometry: Geometry, grid: Geometry) -> int:
    """How many voxels of a block decide on one of the grid, see :func:`toGrid`."""
    return int(_samples(_steps(geometry, grid)).prod())


def _samples(steps: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.ceil(1 / steps - _TOUCH)).astype(int)


def _steps(geometry: Geometry, grid: Geometry) -> np.ndarray:
    """(3,) voxels of ``grid`` along i, j, k that a voxel of ``geometry`` is long."""
    matrix = np.linalg.inv(grid.ijk_to_ras[:3, :3]) @ geometry.ijk_to_ras[:3, :3]
    steps = np.diag(matrix)
    longest = max(geometry.shape)
    if np.abs(matrix - np.diag(steps)).max() * longest > 0.1 or (steps <= 0).any():
        raise GeometryError(
            "The rendered block is rotated against the segmentation; segment the volume again."
        )
    return steps


def _sourceIndices(
    axis: int,
    start: np.ndarray,
    stop: np.ndarray,
    samples: np.ndarray,
    first: np.ndarray,
    steps: np.ndarray,
    size: tuple[int, ...],
) -> np.ndarray:
    """Indices along one axis of the block's own voxels, ``samples`` for each voxel of the grid."""
    count = samples[axis]
    places = np.arange((stop[axis] - start[axis]) * count)
    centres = start[axis] - 0.5 + (places + 0.5) / count  # in voxels of the grid
    return np.clip(np.floor((centres - first[axis]) / steps[axis]), 0, size[axis] - 1).astype(int)


def _majority(votes: np.ndarray) -> np.ndarray:
    """The most frequent label along the last axis; (K, J, I, V) -> (K, J, I)."""
    if votes.shape[-1] == 1:
        return np.ascontiguousarray(votes[..., 0])
    best = votes[..., 0].copy()
    most = np.zeros(votes.shape[:-1], np.int32)
    for label in np.flatnonzero(np.bincount(votes.ravel())):  # np.unique would sort them all
        count = (votes == label).sum(axis=-1, dtype=np.int32)
        better = count >= most
        best[better], most[better] = label, count[better]
    return best
