"""The interface of renderers: they choose the points of a grid to evaluate, and make two maps."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from MorseCore.field import CHUNK, Field
from MorseCore.points import Axes, pick_coords, sample_grid

__all__ = [
    "Renderer",
    "RendererConfig",
    "Rendering",
    "ask_pixels",
    "coarse_logits",
    "fill_up",
    "interpolate",
]


@dataclass(frozen=True, eq=False)
class Rendering:
    """Two maps of logits, and the pixels at which the second was rendered."""

    coarse: Tensor
    """(B, C, *S)."""
    refined: Tensor
    """(B, C, *S)."""
    index: Tensor
    """(B, P) flat row-major indices of the rendered pixels, in the order of rendering: there
    ``refined`` is the field's own answer. Images may differ in their number; the row of one that
    has fewer repeats a pixel."""
    evaluations: int
    """Points, of all images together, that the field was asked for its rendered answer; those off
    the grid count, repetitions in ``index`` do not."""
    untouched: tuple[int, ...] = ()
    """Images of the batch of which nothing was rendered although of others something was; their
    rows of ``index`` mean nothing."""

    def rendered(self, image: int) -> Tensor:
        """(P,) flat indices of the rendered pixels of one image of the batch."""
        return self.index[image, :0] if image in self.untouched else self.index[image]


class RendererConfig(Protocol):
    """The options of a renderer, as :data:`MorseCore.renderers.RENDERERS` holds them."""

    def build(self) -> "Renderer":
        """The renderer."""
        ...

    def most_points(self, total: int) -> int | None:
        """The most points evaluated on a grid of ``total`` pixels; None if the mask decides."""
        ...


class Renderer(Protocol):
    """Evaluates a field on a grid over its image."""

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """Coarse and refined logits on a product grid.

        :param axes: coordinates along each array axis, evenly spaced; the image's own pixel
            centres if left out. A finer grid asks the field between its pixels, which no
            interpolation of a mask can do; a shorter one asks a part of the image.
        """
        ...


def coarse_logits(field: Field, axes: Axes, *, stride: int) -> Tensor:
    """Coarse logits (B, C, *S), evaluated at every ``stride``-th cell and interpolated between."""
    if stride == 1:
        return field.coarse_grid(axes)
    cells = [axis[stride // 2 :: stride] for axis in axes]
    cells = [cell if len(cell) else axis for cell, axis in zip(cells, axes, strict=True)]
    local = [_within(axis, cell) for axis, cell in zip(axes, cells, strict=True)]
    return sample_grid(field.coarse_grid(cells), local)


def ask_pixels(field: Field, axes: Axes, index: Tensor) -> Tensor:
    """Rendered logits (B, P, C) at flat indices (B, P) of a product grid, in chunks."""
    count = index.shape[1]
    parts = [field.logits(pick_coords(axes, part)) for part in fill_up(index).split(CHUNK, dim=1)]
    return torch.cat(parts, dim=1)[:, :count]


def fill_up(points: Tensor) -> Tensor:
    """Points (B, P, ...), the last one repeated so that there is one of few numbers of them.

    How many there are may depend on the image, and a CPU's libraries make and keep kernels for
    each shape that they meet: with a number of its own in every window a segmentation's memory
    grew by 80 bytes a voxel.
    """
    count = points.shape[1]
    if not count or not (missing := _round_number(count) - count):
        return points
    spare = points[:, -1:].expand(-1, missing, *points.shape[2:])
    return torch.cat([points, spare], dim=1)


def _round_number(count: int) -> int:
    """The next power of two, above 512 the next multiple of it."""
    step = min(1 << (count - 1).bit_length(), 512)
    return -(-count // step) * step


def interpolate(values: Tensor, axes: Axes) -> Tensor:
    """As :func:`sample_grid`, in single precision: (B, C, *S) -> (B, C, *lengths) float32.

    Between logits of one winner interpolated ones have that winner; rounded to the eight bits of
    bfloat16 they may tie.
    """
    with torch.autocast(values.device.type, enabled=False):
        return sample_grid(values.float(), axes)


def _within(axis: Tensor, cells: Tensor) -> Tensor:
    """Coordinates of ``axis`` in a map whose pixel centres lie at ``cells``."""
    if len(cells) == 1:
        return torch.zeros_like(axis)
    step = (cells[-1] - cells[0]) / (len(cells) - 1)
    return 2 * ((axis - cells[0]) / step + 0.5) / len(cells) - 1
