"""Cut an image into windows, and blend what each window's field says into one map.

``C`` classes, ``*S`` space of the image (2 or 3 axes, array order). A *box* is a part of the image,
``(start, stop)`` in voxels, array order.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.field import Field
from MorseCore.images.workload import window_starts
from MorseCore.renderers import Renderer

__all__ = [
    "Crops",
    "GridBox",
    "GridPrediction",
    "WindowBlender",
    "WindowAccumulator",
    "crop_window",
    "gaussian_weight",
    "lay_windows",
    "window_slices",
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
    """Lay windows over an image (*S), padded evenly along axes on which a window does not fit.

    :param size: of the image in voxels, array order.
    :param window: its size in voxels, array order.
    :param overlap: share of a window that neighbours have in common, in [0, 1).
    :return: where the image lies in the padded one, (start, stop), and where the windows begin in
        the padded one.
    """
    padded = [max(n, least) for n, least in zip(size, window, strict=True)]
    low = tuple((n - inner) // 2 for n, inner in zip(padded, size, strict=True))
    box = low, tuple(a + inner for a, inner in zip(low, size, strict=True))
    return box, window_starts(padded, window, overlap=overlap)


class Crops(Protocol):
    """What windows are cut from: a tensor (*S), or something that is read part by part.

    With several channels it is (C, *S), so it is asked with an ellipsis before the axes of space.
    """

    @property
    def shape(self) -> Sequence[int]:
        """*S or (C, *S)."""

    def __getitem__(self, where: Any) -> Tensor:
        """A part."""


def crop_window(image: Crops, start: Sequence[int], window: Sequence[int]) -> Tensor:
    """One window (*window) of an image (*S); 0 where it reaches beyond the image at either end.

    Of an image (C, *S) it is (C, *window).

    :param start: its first voxel, array order; may be negative.
    """
    sizes = list(zip(start, window, image.shape[-len(window) :], strict=True))
    part = image[..., *(slice(max(0, a), min(a + n, size)) for a, n, size in sizes)]
    missing = [(max(0, -a), max(0, a + n - size)) for a, n, size in sizes]
    if not any(map(any, missing)):
        return part
    return functional.pad(part, [n for pair in reversed(missing) for n in pair])


class WindowAccumulator:
    """Weighted mean of overlapping windows.

    :param num_classes: ``C``.
    :param shape: ``*S`` of the map.
    :param dtype: of the sums.

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


GridBox = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class GridPrediction:
    """Everything on one grid over the prepared image, or over a box of it."""

    coarse: Tensor
    """(C, *S) probabilities before rendering."""
    refined: Tensor
    """(C, *S) probabilities after rendering; the same tensor if nothing was rendered."""
    rendered: Tensor
    """(*S) bool: rendered in at least one window."""
    windows: int
    evaluations: int
    """Points that were rendered, counted once a window."""
    first: int = 0
    """Row of the grid (along its first axis) with which this part of it begins."""


class WindowBlender:
    """Blends the windows' probabilities with Gaussian weights, over a box of the image.

    Windows come in the order of their first axis. A *rolling* blender holds as many rows as a
    window has and gives out those that no further window touches (:meth:`finished`), so that its
    memory does not grow with the image::

        for start in starts:
            if part := blender.finished(start[0]):
                consume(part)                          # before the next add()
            blender.add(network(crop(start)), [start], renderer)
        consume(blender.result())

    :param window: size of a window, array order.
    :param box: in voxels of the (padded) image.
    :param scale: the grid is this many times finer than the image's.
    :param temperature: of the probabilities, softmax(logits / temperature); it changes how sure an
        answer sounds, not which one a window gives, nor which points are rendered.
    :param rolling: hold a window's rows, not all of them.
    """

    def __init__(
        self,
        window: Sequence[int],
        box: GridBox,
        *,
        scale: int = 1,
        temperature: float = 1.0,
        rolling: bool = False,
    ) -> None:
        self._window, self._box, self._scale = tuple(window), box, scale
        self._temperature = temperature
        size = tuple((b - a) * scale for a, b in zip(*box, strict=True))
        self._rows = size[0]
        self._size = (min(size[0], window[0] * scale), *size[1:]) if rolling else size
        self._first = self._spent = 0  # row held first; rows given out that still have to go
        self._weight = gaussian_weight([n * scale for n in window])
        self._rendered = torch.zeros(self._size, dtype=torch.bool)
        self._blends: list[WindowAccumulator] = []
        self._windows = self._evaluations = 0

    def overlaps(self, start: Sequence[int]) -> bool:
        """Whether the window that begins at ``start`` has a voxel in the box."""
        return all(a < b for a, b in zip(*self._common(start), strict=True))

    def add(self, field: Field, starts: Sequence[Sequence[int]], renderer: Renderer) -> None:
        """Render a field of one window, or of several whole ones, and blend what it says.

        :param starts: first voxel of each window of the field's batch, array order.
        """
        self._drop_spent()
        low, high = self._common(starts[0])
        axes = [
            self._axis(a - s, b - s, n).to(field.device)
            for a, b, s, n in zip(low, high, starts[0], self._window, strict=True)
        ]
        result = renderer.render(field, axes)
        coarse = self._probabilities(result.coarse)
        # Where nothing is rendered both are one tensor; it is neither computed nor held twice.
        is_same = result.refined is result.coarse
        refined = coarse if is_same else self._probabilities(result.refined)
        if not self._blends:
            self._blends = [WindowAccumulator(coarse.shape[1], self._size)]
        if not is_same and len(self._blends) == 1:  # so far nothing was rendered
            self._blends.append(deepcopy(self._blends[0]))
        for n, start in enumerate(starts):
            low, high = self._common(start)
            corner = self._fine(a - b for a, b in zip(low, self._box[0], strict=True))
            corner = (corner[0] - self._first, *corner[1:])
            part = self._fine(b - a for a, b in zip(low, high, strict=True))
            inner = self._fine(a - b for a, b in zip(low, start, strict=True))
            weight = self._weight[window_slices(inner, part)]
            for blend, values in zip(self._blends, (coarse, refined), strict=False):
                blend.add(corner, values[n], weight)
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[result.rendered(n).cpu()] = True
            self._rendered[window_slices(corner, part)] |= mask.view(part)
        self._windows += len(starts)
        self._evaluations += result.evaluations

    def finished(self, before: int) -> GridPrediction | None:
        """The rows that no window touches which begins at row ``before`` of the image or later.

        Views, valid until the next window is added; every row is given out once.

        :raises ValueError: if a voxel was in no window.
        """
        reached = (before - self._box[0][0]) * self._scale
        return self._give(reached) if self._blends and reached > self._first else None

    def result(self) -> GridPrediction:
        """The rows that are left; without :meth:`finished` all. The blender is spent afterwards.

        :raises ValueError: if a voxel was in no window.
        """
        self._drop_spent()
        return self._give(self._rows)

    def _give(self, end: int) -> GridPrediction:
        count = end - self._first
        maps = [blend.first_rows(count) for blend in self._blends]
        part = GridPrediction(
            maps[0], maps[-1], self._rendered[:count], self._windows, self._evaluations, self._first
        )
        self._windows = self._evaluations = 0
        self._spent = count
        return part

    def _drop_spent(self) -> None:
        if self._spent:
            for blend in self._blends:
                blend.advance(self._spent)
            rest = self._rendered[self._spent :].clone()
            self._rendered[: len(rest)] = rest
            self._rendered[len(rest) :] = False
            self._first += self._spent
            self._spent = 0

    def _probabilities(self, logits: Tensor) -> Tensor:
        """On the CPU, in single precision."""
        scaled = logits.float()
        if self._temperature != 1.0:
            scaled = scaled / self._temperature
        return scaled.softmax(1).cpu()

    def _common(self, start: Sequence[int]) -> GridBox:
        """The part of a window that lies in the box, in voxels of the image."""
        low = tuple(max(a, s) for a, s in zip(self._box[0], start, strict=True))
        ends = [s + n for s, n in zip(start, self._window, strict=True)]
        high = tuple(min(b, e) for b, e in zip(self._box[1], ends, strict=True))
        return low, high

    def _axis(self, first: int, last: int, length: int) -> Tensor:
        """Coordinates in the window of the fine pixel centres from voxel ``first`` to ``last``."""
        index = torch.arange(first * self._scale, last * self._scale)
        return (2 * index + 1) / (length * self._scale) - 1

    def _fine(self, values: Iterable[int]) -> tuple[int, ...]:
        return tuple(n * self._scale for n in values)
