"""From a scan's own voxel grid to the grid a model sees, and back.

A model sees upright anatomy: array axes (K, J, I) run towards S, A, R, at the model's spacing.
Where that needs no more than turning and mirroring, not one value is changed.
"""

import numpy as np
import torch
from torch import Tensor

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import (
    MAX_TILT,
    AxisMap,
    canonical_axes,
    canonical_geometry,
    model_grid,
    tilt,
)
from MorseCore.images.resampling import ObliqueInterpolator, chunks, make_interpolator, smooth

__all__ = [
    "AxisMap",
    "canonical_axes",
    "canonical_geometry",
    "inside_source",
    "nearest_voxels",
    "resample",
    "tilt",
    "to_model_grid",
]

_SMOOTH_FROM = 1.5  # times coarser; below, linear interpolation aliases little


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
      the scan is 0 (:func:`inside_source` tells where): of a normalised image the mean, which is
      also what training and windows put beyond an image. With the image's smallest value there
      instead, hippocampus-t1 took the dark corners for anatomy.
    - An axis whose spacing is more than 1 % off ``spacing`` (mm along R, A, S, or along i, j, k of
      the slices for ``spatial_dims=2``) is interpolated linearly, keeping the extent in mm, so that
      the spacing obtained is the nearest that divides it. ``None`` keeps the input's spacing, and
      slices are never interpolated through with ``spatial_dims=2``.

    :raises GeometryError: if the grid would be too large to hold.
    """
    axes = canonical_axes(volume.geometry, spatial_dims=spatial_dims)
    array = torch.from_numpy(np.array(axes.apply(volume.array), dtype=np.float32, order="C"))
    source, target = model_grid(
        volume.geometry, spacing=spacing, spatial_dims=spatial_dims, max_tilt=max_tilt
    )
    if target is source:
        return array.numpy(), source
    return resample(array, source, target).numpy(), target


def resample(image: Tensor, source: Geometry, target: Geometry) -> Tensor:
    """Linear interpolation of (K, J, I), smoothed first along axes that become much coarser."""
    interpolator = make_interpolator(source, target)
    image = smooth(image, _antialiasing(source, target))
    result = torch.empty(target.shape, dtype=image.dtype)
    for box in chunks(target.shape):
        part = result[box[0][0] : box[1][0]]
        part.copy_(interpolator.sample(image, box))
        if isinstance(
            interpolator, ObliqueInterpolator
        ):  # the axis interpolator was given the same extent
            part.masked_fill_(~interpolator.inside(box), 0)
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
    interpolator = make_interpolator(source, target)
    parts = [interpolator.inside(box) for box in chunks(target.shape)]
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
