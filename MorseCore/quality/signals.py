"""What can be measured of a result without knowing the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.result import Structure

__all__ = [
    "SignalValue",
    "Region",
    "dice_of_classes",
    "measure_masks",
]


@dataclass(frozen=True)
class SignalValue:
    """One value of one signal."""

    signal: str
    structure: str
    """Empty: the whole result."""
    value: float


@dataclass(frozen=True)
class Region:
    """The box of a result's voxels that was segmented, array order (K, J, I)."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    is_flat: bool = False
    """Slices of their own: that a structure goes to the first or the last one says nothing."""


def measure_masks(
    labels: np.ndarray, structures: Sequence[Structure], geometry: Geometry, region: Region
) -> list[SignalValue]:
    """Volume, stray pieces, holes and contact of each structure, and the volume of all.

    :param labels: (K, J, I), the mask that a person gets.
    """
    count = max((s.value for s in structures), default=0)
    boxes = ndimage.find_objects(labels, max_label=count)
    found: list[SignalValue] = []
    ml, total = geometry.voxel_volume / 1000, 0
    for item in structures:
        box = boxes[item.value - 1]
        if box is None:
            found.append(SignalValue("volume", item.name, 0.0))
            continue
        part = labels[box]
        mask = part == item.value
        voxels = int(np.count_nonzero(mask))
        total += voxels
        found += [
            SignalValue("volume", item.name, round(voxels * ml, 4)),
            SignalValue("stray", item.name, round(_stray(mask, voxels), 4)),
            SignalValue("holes", item.name, round(_holes(mask, part, voxels), 4)),
            SignalValue("contact", item.name, round(_contact(mask, box, geometry, region), 4)),
        ]
    found.append(SignalValue("volume", "", round(total * ml, 4)))
    return found


def _stray(mask: np.ndarray, voxels: int) -> float:
    """Share of the voxels that are not of the largest piece (26 neighbours)."""
    pieces, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count == 1:
        return 0.0
    return 1 - int(np.bincount(pieces.ravel())[1:].max()) / voxels


def _holes(mask: np.ndarray, labels: np.ndarray, voxels: int) -> float:
    """Background that the structure encloses, as a share of it; other structures are no holes."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    inner = outside[(slice(1, -1),) * mask.ndim]
    return int(np.count_nonzero(~mask & (inner != outside[0, 0, 0]) & (labels == 0))) / voxels


def _contact(mask: np.ndarray, box: tuple[slice, ...], geometry: Geometry, region: Region) -> float:
    """Area on the region's faces, as a share of that of a cube of the structure's volume."""
    spacing = geometry.spacing[::-1]
    area = 0.0
    for axis in range(1 if region.is_flat else 0, 3):
        face = float(np.prod([mm for n, mm in enumerate(spacing) if n != axis]))
        for end, edge in ((0, region.start[axis]), (-1, region.stop[axis])):
            if (box[axis].stop if end else box[axis].start) == edge:
                area += face * int(np.count_nonzero(np.take(mask, end, axis=axis)))
    if not area:
        return 0.0
    volume = float(np.count_nonzero(mask)) * float(np.prod(spacing))
    return area / volume ** (2 / 3)


def dice_of_classes(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """Dice of each foreground class of two label maps; NaN where neither has it: (count - 1,)."""
    sizes = np.bincount(a.ravel(), minlength=count) + np.bincount(b.ravel(), minlength=count)
    common = np.bincount(a[a == b].ravel(), minlength=count)
    with np.errstate(invalid="ignore"):
        dice: np.ndarray = 2 * common[1:] / np.where(sizes[1:] > 0, sizes[1:], np.nan)
    return dice
