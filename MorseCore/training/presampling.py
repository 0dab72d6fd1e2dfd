"""Points drawn in a source image before training, and those of them that a crop shows (SwIPE).

For each class that an image holds, SwIPE takes equally many points by Latin hypercube sampling,
half of them within 10 voxels of the class's boundary. The paper does not say what Latin hypercube
sampling is in a region that is no box, nor is the code that did it published. Here it is drawn in
the smallest box around the region, with so many points that about as many as wanted fall into the
region; the rest is thrown away, and so it goes on with what is missing. A class that fills its box
gets one Latin hypercube: each of P strata of each axis holds one point.

``P`` points, ``*S`` size of the source, ``D`` its dimensions. Positions are in voxels, array order,
voxel i reaching from i to i + 1; coordinates are (x, y[, z]) in [-1, 1], see `MorseCore.points`.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import qmc
from torch import Tensor

from MorseCore.samplers import PrecomputedConfig

__all__ = ["draw_points", "points_in_crop"]

_TRIES = 4  # Latin hypercubes a region
_MOST = 250_000  # points of one of them, a second's work in 3D

Mask = NDArray[np.bool_]
Positions = NDArray[np.float64]


def draw_points(labels: np.ndarray, config: PrecomputedConfig, *, seed: int) -> Tensor:
    """The points of an image: ``per_class`` of each class that it holds, and of the background.

    :param labels: (*S) integer.
    :return: (P, D) float32 coordinates, background first, then class by class.
    """
    rng = np.random.default_rng(seed)
    parts = [np.empty((0, labels.ndim))]
    for value, box in enumerate(ndimage.find_objects(labels.astype(np.int32) + 1)):
        count = config.per_class if value else config.background
        if box is not None and count:
            parts.append(_draw_in_class(labels, value, box, count, config, rng))
    positions = np.concatenate(parts)
    coords = 2 * positions / np.array(labels.shape) - 1
    return torch.from_numpy(coords[:, ::-1].astype(np.float32))


def points_in_crop(
    points: Tensor, to_source: Tensor, *, count: int, generator: torch.Generator
) -> Tensor:
    """``count`` of the points that a crop shows, without repetition, in the crop's coordinates.

    If it shows fewer, all of them, and the rest uniformly anywhere in the crop: every sample of a
    batch must have equally many, and a repeated point would count twice.

    :param points: (P, D) coordinates in the source.
    :param to_source: (D, D + 1), from the crop to the source.
    :return: (count, D) float32.
    """
    matrix, shift = to_source[:, :-1].double(), to_source[:, -1].double()
    local = torch.linalg.solve(matrix, (points.double() - shift).T).T
    shown = local[(local.abs() < 1).all(dim=1)].float()
    chosen = shown[torch.randperm(len(shown), generator=generator)[:count]]
    rest = torch.rand(count - len(chosen), points.shape[1], generator=generator)
    return torch.cat([chosen, 2 * rest - 1])


def _draw_in_class(
    labels: np.ndarray,
    value: int,
    box: tuple[slice, ...],
    count: int,
    config: PrecomputedConfig,
    rng: np.random.Generator,
) -> Positions:
    """(count, D) positions in the voxels of a class, the share near its boundary first.

    The other share keeps away from the boundary, so that the shares are as asked; where a class has
    but one of the two kinds of voxels, all points lie in that. The border of the image is no
    boundary: the class may go on behind it.
    """
    # One more voxel on each side: the nearest voxel of another class is never farther away.
    wide = tuple(
        slice(max(s.start - 1, 0), min(s.stop + 1, n))
        for s, n in zip(box, labels.shape, strict=True)
    )
    inside = labels[wide] == value
    if inside.all():
        near = np.zeros_like(inside)
    else:
        # From voxel centre to voxel centre; the boundary lies half a voxel before the latter.
        near = inside & (ndimage.distance_transform_edt(inside) - 0.5 <= config.near_distance)
    far = inside & ~near
    share = round(count * config.near_share)
    share = 0 if not near.any() else count if not far.any() else share
    parts = [_draw_in_mask(near, share, rng), _draw_in_mask(far, count - share, rng)]
    return np.concatenate(parts) + [s.start for s in wide]


def _draw_in_mask(mask: Mask, count: int, rng: np.random.Generator) -> Positions:
    """(count, D) positions in the voxels of a mask, by Latin hypercube sampling of its box.

    After a few tries what is still missing is drawn from the list of voxels: of a thread that
    crosses its box, hardly a point of the box is a point.
    """
    found = [np.empty((0, mask.ndim))]
    missing = count
    box = ndimage.find_objects(mask.astype(np.int8))[0] if count else ()
    low = np.array([s.start for s in box])
    length = np.array([s.stop - s.start for s in box])
    voxels = mask[box].sum() if count else 0
    for _ in range(_TRIES):
        if not missing:
            break
        number = min(math.ceil(missing * math.prod(length.tolist()) / voxels), _MOST)
        drawn = low + qmc.LatinHypercube(d=mask.ndim, rng=rng).random(number) * length
        drawn = drawn[mask[tuple(drawn.astype(np.intp).T)]][:missing]
        found.append(drawn)
        missing -= len(drawn)
    if missing:
        listed = np.argwhere(mask)
        chosen = listed[rng.integers(len(listed), size=missing)]
        found.append(chosen + rng.random(chosen.shape))
    return np.concatenate(found)
