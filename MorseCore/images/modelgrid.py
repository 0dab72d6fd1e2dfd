"""The grid on which a model sees a scan: upright, at the model's spacing. numpy only.

A model sees upright anatomy: array axes (K, J, I) run towards S, A, R.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry

__all__ = ["MAX_TILT", "AxisMap", "canonical_axes", "canonical_geometry", "model_grid", "tilt"]

MAX_TILT = (
    3.0  # degrees; such a scan is taken as upright, for interpolating costs more than it mends
)
_SAME_SPACING = 0.01  # relative
_MAX_VOXELS = 2**31  # 8 GiB of float32: more is a wrong header, not a scan


@dataclass(frozen=True)
class AxisMap:
    """A turn by right angles: where each canonical axis comes from.

    Orders are of matrix axes (i, j, k); ``apply`` takes arrays (K, J, I).
    """

    order: tuple[int, int, int]
    """The input axis behind canonical i, j, k."""
    flip: tuple[bool, bool, bool]
    """Whether canonical i, j, k runs against that axis."""

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Turn (K, J, I); a view, no value changes."""
        i, j, k = self.order
        mirrored = tuple(slice(None, None, -1) if f else slice(None) for f in reversed(self.flip))
        return array.transpose(2 - k, 2 - j, 2 - i)[mirrored]

    def geometry(self, geometry: Geometry) -> Geometry:
        """The grid of the turned array."""
        size = geometry.shape[::-1]
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.order, self.flip, strict=True)):
            turn[old, new] = -1 if flip else 1
            turn[old, 3] = size[old] - 1 if flip else 0
        i, j, k = (size[n] for n in self.order)
        return Geometry((k, j, i), geometry.ijk_to_ras @ turn)


def canonical_axes(geometry: Geometry, *, spatial_dims: int = 3) -> AxisMap:
    """The turn that brings a grid nearest to R, A, S along i, j, k.

    With ``spatial_dims=2`` the slices stay as they were acquired (the input's k stays k) and the
    two axes within them are put in the order R, A, S: a sagittal slice has i towards A and j
    towards S.
    """
    direction = geometry.direction
    best = max(
        itertools.permutations(range(3)),
        key=lambda p: sum(abs(direction[r, p[r]]) for r in range(3)),
    )
    i, j, k = best  # input axis behind R, A, S
    if spatial_dims == 2:
        i, j = (axis for axis in best if axis != 2)
        k = 2
    world = {axis: row for row, axis in enumerate(best)}
    f0, f1, f2 = (bool(direction[world[axis], axis] < 0) for axis in (i, j, k))
    return AxisMap((i, j, k), (f0, f1, f2))


def canonical_geometry(geometry: Geometry, *, spatial_dims: int = 3) -> Geometry:
    """The input's grid, turned by right angles only; see :func:`canonical_axes`."""
    return canonical_axes(geometry, spatial_dims=spatial_dims).geometry(geometry)


def tilt(geometry: Geometry) -> float:
    """Largest angle in degrees between an axis of the grid and the nearest patient axis."""
    direction = canonical_geometry(geometry).direction
    return float(np.degrees(np.arccos(np.clip(np.diag(direction), -1, 1))).max())


def model_grid(
    geometry: Geometry,
    *,
    spacing: tuple[float, float, float] | None,
    spatial_dims: int = 3,
    max_tilt: float = MAX_TILT,
) -> tuple[Geometry, Geometry]:
    """A scan's grid turned by right angles, and the grid that the model sees.

    They are the same object if no value needs to be interpolated; the rules are those of
    :func:`MorseCore.images.grids.to_model_grid`.

    :raises GeometryError: if the grid would be too large to hold.
    """
    source = canonical_geometry(geometry, spatial_dims=spatial_dims)
    if spatial_dims == 3 and tilt(source) > max_tilt:
        target = _upright(source, spacing or source.spacing)
    else:
        if spacing is not None and spatial_dims == 2:
            spacing = (spacing[0], spacing[1], source.spacing[2])
        target = _respaced(source, spacing or source.spacing)
    return source, target


def _respaced(source: Geometry, spacing: tuple[float, float, float]) -> Geometry:
    """The grid over the same extent with about the wanted spacing; ``source`` itself if it has."""
    size = source.shape[::-1]
    wanted = [
        n if abs(old / new - 1) <= _SAME_SPACING else max(1.0, n * old / new)
        for n, old, new in zip(size, source.spacing, spacing, strict=True)
    ]
    counts = [round(min(n, _MAX_VOXELS + 1)) for n in wanted]  # infinity cannot be rounded
    if tuple(counts) == size:
        return source
    _check_size(wanted)
    ratio = np.array([old / new for old, new in zip(size, counts, strict=True)])
    matrix = source.ijk_to_ras.copy()
    matrix[:3, :3] *= ratio
    matrix[:3, 3] = source.to_world((ratio - 1) / 2)  # outer faces stay where they are
    return Geometry((counts[2], counts[1], counts[0]), matrix)


def _upright(source: Geometry, spacing: tuple[float, float, float]) -> Geometry:
    """An upright grid over the bounding box of all voxels, centred on it."""
    faces = [(-0.5, n - 0.5) for n in source.shape[::-1]]
    corners = source.to_world(np.array(list(itertools.product(*faces))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    step = np.asarray(spacing, dtype=np.float64)
    # A rounding error must not add a voxel.
    wanted = np.maximum(np.ceil((high - low) / step - 1e-4), 1)
    _check_size(wanted.tolist())
    i, j, k = wanted.astype(int).tolist()
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = (low + high) / 2 - step * (np.array([i, j, k]) - 1) / 2
    return Geometry((k, j, i), matrix)


def _check_size(counts: Sequence[float]) -> None:
    """Refuse (i, j, k) voxels that are too many; as real numbers, which do not overflow."""
    if not math.prod(counts) <= _MAX_VOXELS:
        size = " x ".join(f"{n:.0f}" if n < 1e9 else f"{n:.1e}" for n in counts)
        raise GeometryError(
            f"At the model's spacing the image would have {size} voxels, more than can be "
            "held; check the spacing in its header or choose a region."
        )
