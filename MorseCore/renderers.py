"""Renderers: which points of a field are evaluated to make a mask."""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

from MorseCore.config import Registry
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import Axes, margin, pick_coords, sample_grid, scatter_points

__all__ = ["RENDERERS", "DenseConfig", "RefineConfig", "Renderer", "Rendering"]


@dataclass(frozen=True, eq=False)
class Rendering:
    """Two maps of logits and the pixels in which they were made to differ."""

    coarse: Tensor
    """(B, C, *S)."""
    refined: Tensor
    """(B, C, *S)."""
    index: Tensor
    """(B, P) flat row-major indices of the rendered pixels, in the order of rendering."""


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


def _within(axis: Tensor, cells: Tensor) -> Tensor:
    """Coordinates of ``axis`` in a map whose pixel centres lie at ``cells``."""
    if len(cells) == 1:
        return torch.zeros_like(axis)
    step = (cells[-1] - cells[0]) / (len(cells) - 1)
    return 2 * ((axis - cells[0]) / step + 0.5) / len(cells) - 1


@dataclass(frozen=True)
class DenseConfig:
    """Every pixel is rendered."""

    def build(self) -> "DenseRenderer":
        """The renderer."""
        return DenseRenderer()


class DenseRenderer:
    """The field's answer at every pixel: what rendering would give with no limit on points."""

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        refined = field.query_grid(axes, rendered=True)
        index = torch.arange(prod(refined.shape[2:]), device=refined.device)
        return Rendering(field.coarse_grid(axes), refined, index.expand(refined.shape[0], -1))


@dataclass(frozen=True)
class RefineConfig:
    """Parameters of :class:`RefineRenderer`."""

    points: int = 8192
    """N_p at test time, points an image (a window) and pass."""
    passes: int = 2
    """Passes; each chooses among the pixels not rendered yet."""
    coarse_stride: int = 1
    """Evaluate the coarse map at this stride and interpolate it (1: at every pixel). A larger
    stride is an approximation of the coarse mask only; rendered points are exact."""

    def __post_init__(self) -> None:
        if self.points < 0 or self.passes < 0 or self.coarse_stride < 1:
            raise ConfigError(
                "'points' and 'passes' must not be negative and 'coarse_stride' must be positive; "
                f"found {self.points}, {self.passes} and {self.coarse_stride}."
            )

    def build(self) -> "RefineRenderer":
        """The renderer."""
        return RefineRenderer(self)


class RefineRenderer:
    """MORSE's inference (§2, IAR): render the most uncertain pixels, write them back, repeat.

    The second pass leaves out what the first one rendered. In the released code it does not, and
    since the inputs of a point do not change, it mostly repeats the first pass.
    """

    def __init__(self, config: RefineConfig) -> None:
        self.config = config

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        coarse = coarse_logits(field, axes, stride=self.config.coarse_stride)
        batch, total = coarse.shape[0], prod(coarse.shape[2:])
        refined = coarse
        uncertainty = margin(coarse.flatten(2), dim=1)  # (B, N)
        chosen = torch.empty(batch, 0, dtype=torch.long, device=coarse.device)
        for _ in range(self.config.passes):
            count = min(self.config.points, total - chosen.shape[1])
            if count == 0:
                break
            index = uncertainty.topk(count, dim=1).indices
            refined = scatter_points(refined, index, field.logits(pick_coords(axes, index)))
            uncertainty = uncertainty.scatter(1, index, float("-inf"))
            chosen = torch.cat([chosen, index], dim=1)
        return Rendering(coarse, refined, chosen)


RENDERERS: Registry[Any] = Registry("renderer")
RENDERERS.register("dense", DenseConfig)
RENDERERS.register("refine", RefineConfig)
