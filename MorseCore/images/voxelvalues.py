"""What the voxels of an image hold: which of them have a value, and from where to where it goes.

A voxel *has a value* if it is a finite number that single precision can hold. What a file stores as
NaN, as infinity or as 1e300 is missing, whatever the type of the array.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["VoxelRange", "has_value", "measure_percentiles", "measure_range", "pieces", "to_single"]

_LARGEST = float(np.finfo(np.float32).max)
_WHOLE = 2**24  # up to here single precision holds every whole number
_LEVELS = 1e4  # grey values between the lowest and the highest that single precision must tell
_MIDDLE = (1.0, 99.0)
_PIECE = 1 << 24  # bytes looked at together


@dataclass(frozen=True)
class VoxelRange:
    """The values of an image, without the voxels that have none."""

    low: float
    """Smallest; an exact integer where the voxels are; NaN if none has a value."""
    high: float
    """Largest."""
    missing: int
    """Voxels without a value."""
    size: int
    """Voxels in all."""

    @property
    def is_constant(self) -> bool:
        """Whether there is one value at most."""
        return not self.low < self.high

    @property
    def share(self) -> float:
        """Of the voxels without a value, 0..1."""
        return self.missing / self.size


def has_value(array: np.ndarray) -> np.ndarray:
    """Bool, of the array's shape: where an array of numbers has a value."""
    if array.dtype.kind != "f":
        return np.ones(array.shape, bool)
    if array.dtype.itemsize <= 4:
        return np.isfinite(array)
    with np.errstate(invalid="ignore"):
        return np.abs(array) <= _LARGEST


def measure_range(array: np.ndarray) -> VoxelRange:
    """Look through an array of numbers, a piece at a time: no second copy of it is made."""
    low, high, missing = np.inf, -np.inf, 0
    for piece in pieces(array):
        first, last = piece.min().item(), piece.max().item()
        # A NaN comes out as either; so the voxels are looked at one by one only where it matters.
        if array.dtype.kind == "f" and not (first >= -_LARGEST and last <= _LARGEST):
            known = piece[has_value(piece)]
            missing += piece.size - known.size
            if known.size == 0:
                continue
            first, last = known.min().item(), known.max().item()
        low, high = min(low, first), max(high, last)
    if missing == array.size:
        low = high = np.nan
    return VoxelRange(low, high, missing, array.size)


def pieces(array: np.ndarray, size: int = _PIECE) -> Iterator[np.ndarray]:
    """An array in parts along its first axis, of about ``size`` bytes."""
    count = max(1, array.nbytes // size)
    for part in np.array_split(range(len(array)), count):
        if len(part):
            yield array[part[0] : part[-1] + 1]


def measure_percentiles(
    values: np.ndarray, percentiles: tuple[float, float], found: VoxelRange
) -> tuple[float, float]:
    """Two percentiles, linear between the two voxels they fall between, as numpy's.

    numpy subtracts these two voxels in the array's own type: of -30000 and 30000 in 16 bits it
    makes a median of 32768.

    :param values: any shape; all have a value.
    :param found: their range.
    """
    if found.high - found.low <= _widest(values.dtype):
        low, high = np.percentile(values, percentiles)
        return float(low), float(high)
    ordered = [
        np.percentile(values, percentiles, method=method)  # voxels themselves: nothing overflows
        for method in ("lower", "higher")
    ]
    results = []
    for q, below, above in zip(percentiles, *ordered, strict=True):
        place = q / 100 * (values.size - 1)
        share = place - np.floor(place)
        results.append(float(below) * (1 - share) + float(above) * share)
    return results[0], results[1]


def _widest(dtype: np.dtype) -> float:
    """The largest difference that a type can hold."""
    return _LARGEST / 2 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def to_single(array: np.ndarray) -> np.ndarray:
    """Double precision as single, unless single would round the image's contrast away."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):  # what single precision cannot hold is missing in both
        single = array.astype(np.float32)
    low, high = single.min().item(), single.max().item()
    if low >= -_WHOLE and high <= _WHOLE and _is_fine(low, high, high - low):
        return single
    found = measure_range(array)
    if found.missing == found.size:
        return single
    span = found.high - found.low
    if max(-found.low, found.high) > _WHOLE:  # one 0 among them must not hide the rest
        low, high = measure_percentiles(array[has_value(array)], _MIDDLE, found)
        span = high - low or span
    return single if _is_fine(found.low, found.high, span) else array


def _is_fine(low: float, high: float, span: float) -> bool:
    """Whether single precision tells enough values of a span apart; nothing has a span of 0."""
    return not max(abs(low), abs(high)) / _WHOLE * _LEVELS > span > 0
