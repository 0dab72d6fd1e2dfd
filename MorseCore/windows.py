"""Cutting a large image into overlapping windows, and blending what was predicted in them.

Legend: ``C`` channels or classes, ``*S`` space, in 2D or 3D alike.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.tiling import window_starts

__all__ = [
    "Crops",
    "WindowAccumulator",
    "crop_window",
    "gaussian_weight",
    "lay_windows",
    "window_slices",
    "window_starts",
]

_SIGMA = 1 / 8  # of the window's length
_LEAST_WEIGHT = 1e-3  # corners still count where no other window reaches


def window_slices(start: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    """The slices of one window; put an ellipsis in front for leading axes."""
    return tuple(slice(a, a + n) for a, n in zip(start, window, strict=True))


def gaussian_weight(window: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
    """Blending weight (*window), float32: 1 in the middle, less towards the faces, never zero.

    A voxel near a window's face was predicted with half of its surroundings missing, so the window
    in whose middle it lies should have the say.
    """
    weight = torch.ones((), device=device)
    for length in window:
        x = torch.arange(length, dtype=torch.float32, device=device) - (length - 1) / 2
        weight = weight.unsqueeze(-1) * torch.exp(-0.5 * (x / (_SIGMA * length)) ** 2)
    # MONAI's blending has the same floor, and ours is tested to be equal to it.
    return weight.clamp_min(max(float(weight.min()), _LEAST_WEIGHT))


def lay_windows(
    size: Sequence[int], window: Sequence[int], *, overlap: float
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[int, ...]]]:
    """Windows over an image (*S), padded evenly along axes on which a window does not fit.

    :return: where the image lies in the padded one, (start, stop), and where the windows begin in
        the padded one.
    """
    padded = [max(n, least) for n, least in zip(size, window, strict=True)]
    low = tuple((n - inner) // 2 for n, inner in zip(padded, size, strict=True))
    box = low, tuple(a + inner for a, inner in zip(low, size, strict=True))
    return box, window_starts(padded, window, overlap=overlap)


class Crops(Protocol):
    """What windows are cut from: a tensor, or something that is read part by part."""

    @property
    def shape(self) -> Sequence[int]:
        """*S."""

    def __getitem__(self, where: Any) -> Tensor:
        """A part."""


def crop_window(image: Crops, start: Sequence[int], window: Sequence[int]) -> Tensor:
    """One window (*window); what reaches beyond the image, also before its first voxel, is 0."""
    sizes = list(zip(start, window, image.shape, strict=True))
    part = image[tuple(slice(max(0, a), min(a + n, size)) for a, n, size in sizes)]
    missing = [(max(0, -a), max(0, a + n - size)) for a, n, size in sizes]
    if not any(map(any, missing)):
        return part
    return functional.pad(part, [n for pair in reversed(missing) for n in pair])


class WindowAccumulator:
    """Weighted mean of overlapping windows.

    Example::

        blend = WindowAccumulator(3, (64, 64, 64))
        for start in window_starts((64, 64, 64), window, overlap=0.5):
            blend.add(start, logits, weight)      # (3, *window), (*window)
        logits = blend.result()                   # (3, 64, 64, 64)
    """

    def __init__(
        self,
        num_classes: int,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self._total = torch.zeros((num_classes, *shape), dtype=dtype, device=device)  # (C, *S)
        self._weight = torch.zeros(tuple(shape), dtype=torch.float32, device=device)  # (*S)

    def add(self, start: Sequence[int], values: Tensor, weight: Tensor) -> None:
        """Add one window: values (C, *window) and their weight (*window), at its first voxel."""
        where = window_slices(start, weight.shape)
        values = values.to(device=self._total.device, dtype=self._total.dtype)
        weight = weight.to(self._weight.device)
        self._total[(slice(None), *where)].addcmul_(values, weight.to(self._total.dtype))
        self._weight[where] += weight

    def result(self) -> Tensor:
        """The mean (C, *S); the sums are divided in place, so the accumulator is spent afterwards.

        :raises ValueError: if a voxel was in no window.
        """
        return self.first_rows(self._weight.shape[0])

    def first_rows(self, count: int) -> Tensor:
        """The mean (C, count, ...) of the first rows, once no window will touch them any more.

        A view that :meth:`advance` overwrites; to be asked for once.

        :raises ValueError: if a voxel was in no window.
        """
        total, weight = self._total[:, :count], self._weight[:count]
        if not bool((weight > 0).all()):
            raise ValueError("some voxels were in no window")
        for channel in total:  # one at a time: no second copy of C channels
            channel.div_(weight)
        return total

    def advance(self, count: int) -> None:
        """Forget the first rows: row ``count`` is the first from now on, empty ones follow."""
        for values in (*self._total, self._weight):
            rest = values[count:].clone()  # the two parts may overlap
            values[: len(rest)] = rest
            values[len(rest) :] = 0
