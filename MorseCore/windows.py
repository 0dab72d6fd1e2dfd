"""Cutting a large image into overlapping windows, and blending what was predicted in them.

Legend: ``C`` channels or classes, ``*S`` space, in 2D or 3D alike.
"""

from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.tiling import window_starts

__all__ = [
    "WindowAccumulator",
    "gaussian_weight",
    "pad_to_window",
    "unpad",
    "window_slices",
    "window_starts",
]

_SIGMA = 1 / 8  # of the window's length
_LEAST_WEIGHT = 1e-3  # corners still count where no other window reaches
Padding = tuple[tuple[int, int], ...]


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


def pad_to_window(
    image: Tensor, window: Sequence[int], *, value: float = 0.0
) -> tuple[Tensor, Padding]:
    """Pad the last axes of (..., *S) with ``value`` on both sides until the window fits.

    Returns the padded image and how much was added, ``((before, after), ...)`` an axis, for
    :func:`unpad`. Constant, as reflection cannot pad an image of one voxel.
    """
    space = image.shape[image.ndim - len(window) :]
    missing = [max(0, n - size) for size, n in zip(space, window, strict=True)]
    padding = tuple((n // 2, n - n // 2) for n in missing)
    if any(missing):
        flat = [n for pair in reversed(padding) for n in pair]
        image = functional.pad(image, flat, value=value)
    return image, padding


def unpad(image: Tensor, padding: Padding) -> Tensor:
    """Take away what :func:`pad_to_window` added; (..., *S) -> (..., *S)."""
    space = image.shape[image.ndim - len(padding) :]
    inner = (slice(a, size - b) for size, (a, b) in zip(space, padding, strict=True))
    where: tuple[EllipsisType | slice, ...] = (..., *inner)
    return image[where]


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
        if not bool((self._weight > 0).all()):
            raise ValueError("some voxels were in no window")
        for channel in self._total:  # one at a time: no second copy of C channels
            channel.div_(self._weight)
        return self._total
