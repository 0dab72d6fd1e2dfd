"""Where in a whole scan a model works, and whether there is anything that it knows at all.

A network that sees a whole head finds it anywhere in a larger image: a first pass over all windows,
of which the largest connected piece counts. Whether there was a head, a second pass tells that sees
the mirror image: with left and right exchanged it must say the same. On heads it does (Dice 0.81
and more); on an abdomen, noise or a phantom it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.roi import Roi
from MorseCore.inference.blending import Crops
from MorseCore.inference.options import PredictOptions, RunMonitor
from MorseCore.inference.sliding_window import predict_slabs
from MorseCore.network import Network
from MorseCore.store.model_folder import ModelInfo, WindowConfig

__all__ = [
    "CoarseMap",
    "box_in_scan",
    "contrast_of",
    "find_window",
    "fits_window",
    "label_coarsely",
    "mean_dice",
    "label_mirror_image",
    "mirror_labels",
    "region_around",
    "window_around",
]

_Index = tuple[int, int, int]
_SIDES = ("Left ", "Right ")
_TOUCH = 1e-3  # voxels that count as none
_LEAST_VOXELS = 20  # of a structure that is said to be there


@dataclass(frozen=True, eq=False)
class CoarseMap:
    """What a network says of a whole scan, on its own grid."""

    labels: np.ndarray
    """(K, J, I) of whole numbers."""
    grid: Geometry
    """Of the labels: upright."""
    intensities: np.ndarray
    """(K, J, I) float32, the scan as the network saw it."""
    agreement: float
    """Mean Dice with the pass that saw the mirror image; 1 where none was made."""
    brain: dict[str, Any]
    """Its volumes, as ``report.json`` has them; empty: not a whole brain's structures."""


def fits_window(size: Sequence[int], window: Sequence[int]) -> bool:
    """Whether an image is seen in one window."""
    return all(n <= most for n, most in zip(size, window, strict=True))


def label_coarsely(
    network: Network,
    image: Crops,
    info: ModelInfo,
    *,
    monitor: RunMonitor,
    overlap: float | None = None,
) -> np.ndarray:
    """The most probable class of every voxel of the grid, without rendering: (K, J, I) int16.

    :param image: (K, J, I) float32, normalised, or (C, K, J, I), ``info.grid_stride`` times as
        fine as the grid.
    :param overlap: of the windows; None: the model's.
    :raises Cancelled: if the monitor wants to stop.
    """
    passes = 0 if hasattr(info.renderer, "passes") else None
    settings = PredictOptions(passes=passes).window_settings(info)
    if overlap is not None:
        settings = replace(settings, windows=WindowConfig(overlap, info.windows.batch))
    parts = predict_slabs(network, image, settings, monitor=monitor)
    labels = [part.coarse.max(0).indices.to(torch.int16) for part in parts]
    found: np.ndarray = torch.cat(labels).numpy()
    return found


def find_window(
    network: Network, image: Crops, info: ModelInfo, *, monitor: RunMonitor
) -> tuple[_Index, _Index] | None:
    """The window around the largest connected piece that a first pass finds; None: nothing.

    :param image: (K, J, I) float32, normalised, larger than a window.
    :return: (start, stop) in voxels of the grid, a window's size where the image is as large.
    :raises Cancelled: if the monitor wants to stop.
    """
    labels = label_coarsely(network, image, info, monitor=monitor, overlap=0.0)
    piece = _largest_piece(labels > 0)
    if piece is None:
        return None
    # Its middle by mass: a thread of false voxels down the neck moves the box, not the mass.
    middle = [float(np.mean(axis)) for axis in piece.nonzero()]
    return _as_box(*_around(middle, labels.shape, info.grid_window))


def _around(
    middle: Sequence[float], size: Sequence[int], window: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    starts, stops = [], []
    for centre, n, length in zip(middle, size, window, strict=True):
        start = int(np.clip(round(centre + 0.5 - length / 2), 0, max(0, n - length)))
        starts.append(start)
        stops.append(min(n, start + length))
    return tuple(starts), tuple(stops)


def _largest_piece(mask: np.ndarray) -> np.ndarray | None:
    pieces, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    piece: np.ndarray = pieces == sizes.argmax()
    return piece


def mirror_labels(names: Sequence[str]) -> np.ndarray | None:
    """What each label becomes in the mirror; None if the names have no sides.

    :param names: of the labels 1, 2 …
    :return: (C,) int64, background included.
    """
    swapped = [0]
    for name in names:
        side = next((n for n, word in enumerate(_SIDES) if name.startswith(word)), None)
        other = name if side is None else _SIDES[1 - side] + name[len(_SIDES[side]) :]
        if other not in names:
            return None
        swapped.append(names.index(other) + 1)
    return None if swapped == list(range(len(swapped))) else np.array(swapped)


class _Mirrored:
    """The mirror image of a scan, read part by part."""

    def __init__(self, image: Crops) -> None:
        self._image, self.shape = image, image.shape

    def __getitem__(self, where: Any) -> Tensor:
        if isinstance(where, tuple) and (where[0] is ... or len(where) == len(self.shape)):
            start, stop, _ = where[-1].indices(self.shape[-1])
            where = (*where[:-1], slice(self.shape[-1] - stop, self.shape[-1] - start))
        part: Tensor = self._image[where]
        return part.flip(-1)


def label_mirror_image(
    network: Network,
    image: Crops,
    info: ModelInfo,
    *,
    swapped: np.ndarray,
    monitor: RunMonitor,
) -> np.ndarray:
    """:func:`label_coarsely` of the mirror image, turned back, with left and right exchanged.

    :param image: (K, J, I) float32, or (C, K, J, I), upright: I runs from left to right.
    :param swapped: (C,), what each label becomes in the mirror.
    :return: (K, J, I) int16.
    :raises Cancelled: if the monitor wants to stop.
    """
    other = label_coarsely(network, _Mirrored(image), info, monitor=monitor)
    turned: np.ndarray = swapped.astype(other.dtype)[other][..., ::-1]
    return turned


def mean_dice(dice: np.ndarray) -> float:
    """Over the structures that either map has; 0 if there is none."""
    seen = dice[~np.isnan(dice)]
    return float(seen.mean()) if len(seen) else 0.0


def region_around(found: CoarseMap, values: Sequence[int], scan: Geometry, margin: float) -> Roi:
    """The box around the largest piece of some structures, in voxels of a scan.

    :param values: labels that are taken together.
    :param scan: the grid that the box is for; it may be turned against the map's.
    :param margin: mm on all sides.
    :raises ImageError: if they were not found.
    """
    piece = _largest_piece(np.isin(found.labels, values))
    if piece is None or piece.sum() < _LEAST_VOXELS:
        raise ImageError("the structure was not found")
    # The piece's voxels with their faces, in the map's own axes i, j, k.
    places = [np.flatnonzero(piece.any(axis=others)) for others in ((0, 1), (0, 2), (1, 2))]
    reach = margin / np.asarray(found.grid.spacing)
    low = np.array([axis[0] - 0.5 for axis in places]) - reach
    high = np.array([axis[-1] + 0.5 for axis in places]) + reach
    return _in_scan(found.grid, low, high, scan)


def box_in_scan(grid: Geometry, scan: Geometry) -> Roi:
    """The smallest box of a scan's voxels that holds all of a grid.

    :raises ImageError: if they have nothing in common.
    """
    return _in_scan(grid, np.full(3, -0.5), np.array(grid.shape[::-1]) - 0.5, scan)


def _in_scan(grid: Geometry, low: np.ndarray, high: np.ndarray, scan: Geometry) -> Roi:
    """A box of a grid, from index ``low`` to ``high`` (i, j, k), as a box of the scan's voxels."""
    picks = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    corners = np.stack([low, high])[picks, np.arange(3)]
    index = scan.to_index(grid.to_world(corners)) + 0.5  # 0 is the first voxel's outer face
    size = np.asarray(scan.shape[::-1], dtype=np.float64)
    lower = np.clip(np.floor(index.min(axis=0) + _TOUCH), 0, size)
    upper = np.clip(np.ceil(index.max(axis=0) - _TOUCH), 0, size)
    if not (upper - lower >= 1).all():
        raise ImageError("the structure lies at the image's edge")
    return Roi(_triple(lower), _triple(upper), "ijk")


def window_around(middle: Geometry, grid: Geometry, window: Sequence[int]) -> tuple[_Index, _Index]:
    """A window of a grid around the middle of another, (start, stop) in its voxels (K, J, I)."""
    centre = (np.array(middle.shape[::-1], dtype=np.float64) - 1) / 2
    index = grid.to_index(middle.to_world(centre[None]))[0][::-1].tolist()
    return _as_box(*_around(index, grid.shape, window))


def _as_box(start: Sequence[int], stop: Sequence[int]) -> tuple[_Index, _Index]:
    (a, b, c), (d, e, f) = start, stop
    return (a, b, c), (d, e, f)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    i, j, k = values.tolist()
    return i, j, k


def contrast_of(found: CoarseMap, info: ModelInfo) -> str:
    """``T1``, ``T2`` or ``other``, by the order of white matter, cortex and fluid; ``""``: unknown.

    :param info: of the model that made the map; without such structures nothing is known.
    """
    means = []
    for words in (("cerebral white matter",), ("cerebral cortex",), ("lateral ventricle", "CSF")):
        values = [s.value for s in info.structures if s.name.endswith(words)
                  and "inferior" not in s.name]  # fmt: skip
        inside = found.intensities[np.isin(found.labels, values)]
        if len(inside) < _LEAST_VOXELS:
            return ""
        means.append(float(np.median(inside)))
    white, grey, fluid = means
    if white > grey > fluid:
        return "T1"
    return "T2" if white < grey < fluid else "other"
