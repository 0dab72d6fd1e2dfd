"""Multi-resolution iso-surface extraction: cells whose corners disagree are divided (SwIPE)."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import Axes, scatter_points
from MorseCore.renderers.lattice import (
    corners_of,
    dilate_cells,
    disagreeing_cells,
    flat_index,
    interpolate_lattice,
    lattice,
    pad_rows,
    split_cells,
    within,
)
from MorseCore.renderers.renderer import Rendering, ask_pixels

__all__ = ["MiseConfig", "MiseRenderer"]


@dataclass(frozen=True)
class MiseConfig:
    """Parameters of :class:`MiseRenderer`."""

    stride: int = 4
    """Of the first lattice, in pixels; a power of two. What holds none of its points is missed."""
    rings: int = 1
    """Rings of neighbouring cells that are divided with each cell whose corners disagree."""
    follow: bool = True
    """Ask on, at each lattice, until no such cell has a corner that was not asked."""

    def __post_init__(self) -> None:
        if self.stride < 1 or self.stride & (self.stride - 1):
            raise ConfigError(f"'stride' must be 1, 2, 4, 8 …; found {self.stride}.")
        if self.rings < 0:
            raise ConfigError(f"'rings' must not be negative; found {self.rings}.")

    def build(self) -> "MiseRenderer":
        """The renderer."""
        return MiseRenderer(self)

    def most_points(self, total: int) -> None:
        """None: the mask decides."""


class MiseRenderer:
    """MISE as SwIPE adopts it from occupancy networks (Mescheder 2019), for any number of classes.

    Ask the points of a lattice; mark the cells whose corners differ in their label, and a ring of
    cells around; halve the stride and ask the new points of marked cells; repeat to stride 1.
    Elsewhere logits are interpolated, which keeps the label that all corners of a cell share.

    What it finds: an object (or a hole) that holds a point which is asked. Every object that has a
    box of ``stride`` pixels a side inside holds one, and with ``follow`` its boundary is traced to
    the end, threads and plates of one pixel that leave it included. What it misses: an object
    between the points of the first lattice that nothing leads to; take a smaller stride for such.

    ``coarse`` of the rendering is the first lattice interpolated: MISE has one answer, asked at few
    or at more places, so also this is the rendered one, not that of :meth:`Field.coarse`.
    """

    def __init__(self, config: MiseConfig) -> None:
        self.config = config

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        size, stride = [len(axis) for axis in axes], self.config.stride
        search = _Search(field, axes, stride)
        pixels = lattice(size, 1, device=field.device)
        coarse = interpolate_lattice(search.values, search.points, pixels)
        self._settle(search)
        while stride > 1:
            stride //= 2
            search.divide(stride, search.marked(self.config.rings))
            self._settle(search)
        return Rendering(coarse, search.values, search.index(), search.evaluations)

    def _settle(self, search: "_Search") -> None:
        """Evaluate the corners of marked cells until all are known; they may mark other cells."""
        while self.config.follow and search.ask(search.marked(self.config.rings)):
            pass


class _Search:
    """What is known of a field on one lattice, while the lattices get finer."""

    def __init__(self, field: Field, axes: Axes, stride: int) -> None:
        self._field, self._axes = field, axes
        self._size = [len(axis) for axis in axes]
        self.points = lattice(self._size, stride, device=field.device)
        sides = [axis[along] for axis, along in zip(axes, self.points, strict=True)]
        self.values = field.query_grid(sides, rendered=True).float()
        """(B, C, *L), asked where known and interpolated elsewhere."""
        self._known = torch.ones_like(self.values[:, 0], dtype=torch.bool)
        first = torch.arange(prod(self._known.shape[1:]), device=field.device)
        whole = flat_index(first.expand(field.batch, -1), self.points, self._size)
        self._asked = [(whole, torch.ones_like(whole, dtype=torch.bool))]
        self.evaluations = whole.numel()

    def marked(self, rings: int) -> Tensor:
        """Cells whose corners disagree, and rings around them."""
        return dilate_cells(disagreeing_cells(self.values.argmax(1)), rings)

    def divide(self, stride: int, cells: Tensor) -> None:
        """Go to the lattice of half the stride, and evaluate all its points in the marked cells."""
        finer = lattice(self._size, stride, device=self.values.device)
        self.values = interpolate_lattice(self.values, self.points, finer)
        known = torch.zeros_like(self.values[:, 0], dtype=torch.bool)
        known[within(self.points, finer)] = self._known
        cells = split_cells(cells, self.points, finer)
        self._known, self.points = known, finer
        self.ask(cells)

    def ask(self, cells: Tensor) -> bool:
        """Evaluate the unknown corners of cells; returns whether there were any."""
        wanted = corners_of(cells, self.points) & ~self._known
        index, count = pad_rows(wanted.flatten(1))
        if not count:
            return False
        pixels = flat_index(index, self.points, self._size)
        answers = ask_pixels(self._field, self._axes, pixels)
        self.values = scatter_points(self.values, index, answers)
        self._known |= wanted
        order = torch.arange(index.shape[1], device=index.device)
        self._asked.append((pixels, order < wanted.flatten(1).sum(1, keepdim=True)))
        self.evaluations += count
        return True

    def index(self) -> Tensor:
        """(B, P) pixels in the order of asking; rows of fewer end with pixel 0 again."""
        pixels, is_new = (torch.cat(parts, dim=1) for parts in zip(*self._asked, strict=True))
        order = is_new.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
        order = order[:, : int(is_new.sum(1).max())]
        return torch.where(is_new.gather(1, order), pixels.gather(1, order), 0)
