"""Windows of an image put together: what each window's field says, blended into one map.

``C`` classes, ``*S`` space of the image (2 or 3 axes, array order). A *box* is a part of the image,
``(start, stop)`` in voxels, array order.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from MorseCore.field import Field
from MorseCore.renderers import Renderer
from MorseCore.windows import WindowAccumulator, gaussian_weight, window_slices

__all__ = ["GridBox", "GridPrediction", "Stitcher"]

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


class Stitcher:
    """Blends the windows' probabilities with Gaussian weights, over a box of the image.

    Windows come in the order of their first axis. A *rolling* stitcher holds as many rows as a
    window has and gives out those that no further window touches (:meth:`finished`), so that its
    memory does not grow with the image::

        for start in starts:
            if part := stitcher.finished(start[0]):
                consume(part)                          # before the next add()
            stitcher.add(network(crop(start)), [start], renderer)
        consume(stitcher.result())

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
        """Render a field of one window, or of several whole ones, and blend what it says."""
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
        """
        reached = (before - self._box[0][0]) * self._scale
        return self._give(reached) if self._blends and reached > self._first else None

    def result(self) -> GridPrediction:
        """What is left; without :meth:`finished` everything. The stitcher is spent afterwards."""
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
