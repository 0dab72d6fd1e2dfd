"""From a scan's own voxel grid to the grid a model sees, and back.

A model sees upright anatomy: array axes (K, J, I) run towards S, A, R, at the model's spacing.
Where that needs no more than turning and mirroring, not one value is changed.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.imageio import Volume
from MorseCore.resampling import ObliqueSampler, chunks, make_sampler, smooth

__all__ = [
    "AxisMap",
    "canonical_axes",
    "canonical_geometry",
    "inside_source",
    "nearest_voxels",
    "tilt",
    "to_model_grid",
]

MAX_TILT = (
    3.0  # degrees; such a scan is taken as upright, for interpolating costs more than it mends
)
_SAME_SPACING = 0.01  # relative
_SMOOTH_FROM = 1.5  # times coarser; below, linear interpolation aliases little
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


def to_model_grid(
    volume: Volume,
    *,
    spacing: tuple[float, float, float] | None,
    spatial_dims: int = 3,
    max_tilt: float = MAX_TILT,
) -> tuple[np.ndarray, Geometry]:
    """Bring a scan to the grid a model sees; returns float32 (K, J, I) and its grid.

    - Axes within ``max_tilt`` degrees of the patient's: turned and mirrored only, bit by bit.
    - Tilted more (3D): interpolated into an upright box around the whole scan; what lies outside of
      the scan is given its smallest value (:func:`inside_source` tells where).
    - An axis whose spacing is more than 1 % off ``spacing`` (mm along R, A, S, or along i, j, k of
      the slices for ``spatial_dims=2``) is interpolated linearly, keeping the extent in mm, so that
      the spacing obtained is the nearest that divides it. ``None`` keeps the input's spacing, and
      slices are never interpolated through with ``spatial_dims=2``.

    :raises GeometryError: if the grid would be too large to hold.
    """
    axes = canonical_axes(volume.geometry, spatial_dims=spatial_dims)
    array = torch.from_numpy(np.array(axes.apply(volume.array), dtype=np.float32, order="C"))
    source = axes.geometry(volume.geometry)
    if spatial_dims == 3 and tilt(source) > max_tilt:
        target = _upright(source, spacing or source.spacing)
    else:
        if spacing is not None and spatial_dims == 2:
            spacing = (spacing[0], spacing[1], source.spacing[2])
        target = _respaced(source, spacing or source.spacing)
    if target is source:
        return array.numpy(), source
    _check_size(target)
    return _resample(array, source, target).numpy(), target


def _respaced(source: Geometry, spacing: tuple[float, float, float]) -> Geometry:
    """The grid over the same extent with about the wanted spacing; ``source`` itself if it has."""
    size = source.shape[::-1]
    counts = [
        n if abs(old / new - 1) <= _SAME_SPACING else max(1, round(n * old / new))
        for n, old, new in zip(size, source.spacing, spacing, strict=True)
    ]
    if tuple(counts) == size:
        return source
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
    i, j, k = np.maximum(np.ceil((high - low) / step - 1e-4), 1).astype(int).tolist()
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = (low + high) / 2 - step * (np.array([i, j, k]) - 1) / 2
    return Geometry((k, j, i), matrix)


def _check_size(target: Geometry) -> None:
    voxels = int(np.prod(target.shape, dtype=np.int64))
    if voxels > _MAX_VOXELS:
        k, j, i = target.shape
        raise GeometryError(
            f"At the model's spacing the image would have {i} x {j} x {k} voxels, more than can be "
            "held; check the spacing in its header or choose a region."
        )


def _resample(image: Tensor, source: Geometry, target: Geometry) -> Tensor:
    """Linear interpolation of (K, J, I), smoothed first along axes that become much coarser."""
    background = image.min()
    sampler = make_sampler(source, target)
    image = smooth(image, _antialiasing(source, target))
    result = torch.empty(target.shape, dtype=image.dtype)
    for box in chunks(target.shape):
        part = result[box[0][0] : box[1][0]]
        part.copy_(sampler.sample(image, box))
        if isinstance(sampler, ObliqueSampler):  # the axis sampler was given the same extent
            part.masked_fill_(~sampler.inside(box), background)
    return result


def _antialiasing(source: Geometry, target: Geometry) -> tuple[float, float, float]:
    """Width of the smoothing along (K, J, I) of the source, in its voxels."""
    step = np.linalg.inv(source.ijk_to_ras)[:3, :3] @ target.ijk_to_ras[:3, :3]
    i, j, k = (
        float((n - 1) / 2) if n > _SMOOTH_FROM else 0.0 for n in np.linalg.norm(step, axis=1)
    )
    return k, j, i


def inside_source(source: Geometry, target: Geometry) -> np.ndarray:
    """Bool (K, J, I) of ``target``: the voxel's centre lies within ``source``'s outer faces."""
    sampler = make_sampler(source, target)
    parts = [sampler.inside(box) for box in chunks(target.shape)]
    return torch.cat(parts).numpy()


def nearest_voxels(
    indices: np.ndarray, *, model_geometry: Geometry, input_geometry: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the model's grid are in the scan.

    :param indices: (P, 3) voxel indices (i, j, k) of the model's grid, whole or not.
    :return: (P, 3) int32 nearest voxels (i, j, k) of the input, kept inside it, and (P, 3) float64
        RAS mm of the points themselves.
    """
    positions = model_geometry.to_world(np.asarray(indices, dtype=np.float64).reshape(-1, 3))
    nearest = np.rint(input_geometry.to_index(positions))
    last = np.asarray(input_geometry.shape[::-1]) - 1
    return np.clip(nearest, 0, last).astype(np.int32), positions
