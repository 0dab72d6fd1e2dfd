"""Check a result: ask the network again in other ways, measure, and let the limits speak."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.voxelvalues import measure_range
from MorseCore.inference.assembly import Placement
from MorseCore.inference.blending import Crops
from MorseCore.inference.locator import label_coarsely, label_mirror_image, mirror_labels
from MorseCore.inference.options import RunMonitor
from MorseCore.inference.report import is_slice, modality_warning, view_warning
from MorseCore.network import Network, averaged
from MorseCore.quality.signals import (
    Region,
    SignalValue,
    dice_of_classes,
    measure_masks,
)
from MorseCore.quality.thresholds import ANY, Threshold
from MorseCore.quality.verdict import Reason, judge
from MorseCore.result import DisputedSlice, Segmentation
from MorseCore.store.model_folder import ModelInfo

__all__ = [
    "Passes",
    "ask_again",
    "check_result",
    "disputed_slices",
    "mirror_of",
    "thresholds_of",
]

_GAMMA = 1.25  # and its inverse
_AIR, _SOME = (-1100, -900), 0.02  # HU, and the share of an image that makes it look like a CT
_CUT = 0.3  # of the face of a cube of the structure's volume
_THICK = 2.0  # times the model's own voxels
_UNEQUAL = 2 / 3  # one side has half of the other


@dataclass(frozen=True, eq=False)
class Passes:
    """What the network says when it is asked again."""

    agreement: np.ndarray | None
    """(C - 1,) Dice of each structure with the pass that saw the mirror image; NaN: unseen. None:
    the model knows no mirror image."""
    stability: np.ndarray | None = None
    """(C - 1,) the least Dice among all passes; None: they were not made."""
    other: np.ndarray | None = None
    """(K, J, I): of the maps on the grid of the coarse one that which differs most from it."""


def mirror_of(info: ModelInfo) -> np.ndarray | None:
    """What each label becomes in the mirror image: (C,); None if the model knows none.

    It does if its structures have sides, or if its training mirrored the images.
    """
    swapped = mirror_labels([item.name for item in info.structures])
    if swapped is not None:
        return swapped
    config = info.training.get("config") or {}
    augmentation = config.get("augmentation") or {}
    if info.preparation.spatial_dims - 1 not in (augmentation.get("mirror_axes") or []):
        return None
    described = (config.get("card") or {}).get("structures") or {}
    values = {item.name: item.value for item in info.structures}
    swapped = np.arange(info.num_classes)
    for pair in augmentation.get("mirror_pairs") or []:
        names = [(described.get(name) or {}).get("name") or name for name in pair]
        if not values.keys() >= set(names):
            return None  # renamed since: nobody knows any more what becomes of them
        left, right = (values[name] for name in names)
        swapped[[left, right]] = right, left
    return swapped


def ask_again(
    network: Network,
    image: Crops,
    labels: np.ndarray,
    info: ModelInfo,
    *,
    is_full: bool,
    monitor: RunMonitor,
) -> Passes | None:
    """The coarse pass of the mirror image, and four more; None if none is to be made.

    :param image: (K, J, I) float32, or (C, K, J, I), upright: I runs from left to right.
    :param labels: (K, J, I), the coarse map of it.
    :param is_full: make the four: gamma up and down, half a voxel to and fro.
    :raises Cancelled: if the monitor wants to stop.
    """
    swapped = mirror_of(info)
    if swapped is None and not is_full:
        return None
    count = info.num_classes
    agreement, others = None, []
    if swapped is not None:
        others.append(label_mirror_image(network, image, info, swapped=swapped, monitor=monitor))
        agreement = dice_of_classes(labels, others[0], count)
    if not is_full:
        return Passes(agreement, other=others[0])
    whole = image[...]
    others += [
        label_coarsely(network, _with_gamma(whole, gamma), info, monitor=monitor)
        for gamma in (_GAMMA, 1 / _GAMMA)
    ]
    found = [dice_of_classes(labels, other, count) for other in others]
    moved = _half_a_voxel(whole, info)
    low, high = (label_coarsely(network, image, info, monitor=monitor) for image in moved)
    # Both lie half a voxel off, to either side: one voxel apart they are of the same places.
    ahead = tuple(slice(1, None) if n > 1 else slice(None) for n in low.shape)
    behind = tuple(slice(None, -1) if n > 1 else slice(None) for n in low.shape)
    if info.preparation.spatial_dims == 2:
        ahead, behind = (slice(None), *ahead[1:]), (slice(None), *behind[1:])
    found.append(dice_of_classes(low[ahead], high[behind], count))
    farthest = max(others, key=lambda other: int(np.count_nonzero(other != labels)))
    return Passes(agreement, np.fmin.reduce(found), farthest)


def _with_gamma(image: Tensor, gamma: float) -> Tensor:
    space = (-3, -2, -1)  # each channel by its own range
    low, high = image.amin(space, keepdim=True), image.amax(space, keepdim=True)
    return ((image - low) / (high - low).clamp_min(1e-6)) ** gamma * (high - low) + low


def _half_a_voxel(image: Tensor, info: ModelInfo) -> tuple[Tensor, Tensor]:
    """The image as seen half a voxel before and half a voxel behind, along each axis of a window.

    Voxels of the grid: with a stride of 2 that is a whole one of the image. Between two voxels
    stands their mean; beyond the last one, the last.
    """
    stride = info.grid_stride
    moved = []
    for is_behind in (False, True):
        other = image
        for axis in range(-info.preparation.spatial_dims, 0):
            for _ in range(stride // 2):
                other = _neighbour(other, axis, is_behind=is_behind)
            if stride % 2:
                other = (other + _neighbour(other, axis, is_behind=is_behind)) / 2
        moved.append(other)
    return moved[0], moved[1]


def _neighbour(image: Tensor, axis: int, *, is_behind: bool) -> Tensor:
    """What stands one voxel before or behind along an axis; beyond the end, the end."""
    n = image.shape[axis]
    edge = image.narrow(axis, n - 1 if is_behind else 0, 1)
    rest = image.narrow(axis, 1 if is_behind else 0, n - 1)
    return torch.cat([rest, edge] if is_behind else [edge, rest], axis)


def disputed_slices(
    image: Crops, labels: np.ndarray, other: np.ndarray, grid: Geometry, *, stride: int = 1
) -> tuple[DisputedSlice, ...]:
    """Across each axis the slice in which two maps differ most; of a flat image the only one.

    :param image: (K, J, I) float32, as the network saw it; of (C, K, J, I) the first is shown.
    :param grid: of both maps.
    :param stride: voxels of the image an axis that are one of the grid.
    """
    differs, found = labels != other, []
    flat = [axis for axis, n in enumerate(labels.shape) if n == 1]
    for axis in flat[:1] or range(3):
        at = differs.sum(axis=tuple(n for n in range(3) if n != axis))
        if not at.any():
            return ()
        start, stop = [0, 0, 0], list(labels.shape)
        start[axis], stop[axis] = int(at.argmax()), int(at.argmax()) + 1
        (a, b, c), (d, e, f) = start, stop
        where = (slice(a, d), slice(b, e), slice(c, f))
        fine = tuple(slice(stride * part.start, stride * part.stop) for part in where)
        part = image[(..., *fine)]
        first = part if part.ndim == 3 else part[0]
        seen = averaged(first[None, None], stride)[0, 0].numpy()
        found.append(DisputedSlice(
            grid.crop((a, b, c), (d, e, f)), seen, labels[where], other[where]
        ))  # fmt: skip
    return tuple(found)


def check_result(
    result: Segmentation,
    info: ModelInfo,
    *,
    part: Volume,
    place: Placement,
    passes: Passes | None,
    is_partial: bool,
    mode: str,
) -> dict[str, Any]:
    """The verdict on a result, as ``report.json`` holds it.

    :param part: what of the scan was segmented. :param place: where that lies.
    :param is_partial: a region was given to a model that knows whole scans: volumes and the like
        are those of a part.
    :param mode: ``fast`` or ``full``.
    """
    measured = [
        *measure_masks(result.refined, result.structures, result.geometry, _region(place)),
        SignalValue("attention", "", result.report["attention"]),
        SignalValue("thickness", "", round(max(part.geometry.spacing), 4)),
    ]  # fmt: skip
    if passes is not None:
        if passes.agreement is not None:
            measured += _agreements("agreement", passes.agreement, info)
        if passes.stability is not None:
            measured += _agreements("stability", passes.stability, info)
    if is_partial:
        kept = ("thickness", "stray", "holes")
        measured = [item for item in measured if item.signal in kept]
    rules = [*_rules(part, info), *_emptiness(result)]
    return judge(measured, thresholds_of(info), rules=rules, mode=mode)


def _region(place: Placement) -> Region:
    part, dims = place.fine(place.part), place.spatial_dims
    scales = (place.scale if dims == 3 else 1, place.scale, place.scale)
    start = tuple(a * n for a, n in zip(place.start, scales, strict=True))
    stop = tuple(a + n for a, n in zip(start, part.shape, strict=True))
    return Region(start, stop, is_flat=dims == 2 or part.shape[0] == 1)


def _agreements(signal: str, dice: np.ndarray, info: ModelInfo) -> list[SignalValue]:
    seen = [
        SignalValue(signal, item.name, round(float(value), 4))
        for item, value in zip(info.structures, dice, strict=True)
        if not np.isnan(value)
    ]
    mean = float(np.mean([item.value for item in seen])) if seen else 0.0
    return [*seen, SignalValue(signal, "", round(mean, 4))]


def thresholds_of(info: ModelInfo) -> list[Threshold]:
    """What needs no fit, and then the model's own, which win."""
    none = (None, None)
    found = [
        Threshold("contact", ANY, 0.0, (None, _CUT), none),
        Threshold("asymmetry", ANY, 0.0, (None, _UNEQUAL), none),
    ]
    spacing = info.preparation.spacing_xyz
    data = (info.training.get("config") or {}).get("data") or {}
    knows_thick = data.get("source") == "generated" or data.get("generated_share")
    if spacing and not knows_thick:  # generated images have thick slices, too
        found.append(Threshold("thickness", "", max(spacing), (None, _THICK * max(spacing)), none))
    return [*found, *(info.verdict.thresholds if info.verdict else ())]


def _rules(part: Volume, info: ModelInfo) -> list[Reason]:
    """What a scan's header, values and size say without a limit."""
    found = [("modality", modality_warning(part, info), "implausible", 2.0)]
    if info.modality == "MR" and not found[0][1] and _looks_like_ct(part):
        words = f"The values look like a CT's, and '{info.name}' was trained on MR."
        found.append(("modality", words, "implausible", 2.0))
    found.append(("size", view_warning(part, info), "check", 1.5))
    if is_slice(part) and info.preparation.spatial_dims == 3:
        words = f"The image is one slice, and '{info.name}' was trained on volumes."
        found.append(("size", words, "check", 1.5))
    return [
        Reason("", signal, None, (None, None), words, level, severity)
        for signal, words, level, severity in found
        if words
    ]


def _looks_like_ct(part: Volume) -> bool:
    if measure_range(part.array).low > _AIR[1]:
        return False
    low, high = _AIR
    return float(np.mean((part.array >= low) & (part.array <= high))) > _SOME


def _emptiness(result: Segmentation) -> list[Reason]:
    if result.refined.any():
        return []
    words = "Nothing was found: the mask is empty."
    return [Reason("", "empty", 0.0, (None, None), words, "implausible", 99.0)]
