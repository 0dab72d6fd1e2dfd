"""Renderers: which points of a field are evaluated to make a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Protocol

import torch
from torch import Tensor

from MorseCore.config import Registry
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import index_to_coords, margin, pixel_axes, sample_grid, scatter_points

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

    def render(self, field: Field, size: Sequence[int] | None = None) -> Rendering:
        """Coarse and refined logits at the pixel centres of a grid of ``size``.

        :param size: pixels along each array axis; the image's own if left out. Twice the image's
            asks the field half-way between its pixels, which no interpolation of a mask can do.
        """
        ...


def coarse_logits(field: Field, size: Sequence[int], *, stride: int) -> Tensor:
    """Coarse logits (B, C, *size), evaluated at every ``stride``-th cell, interpolated."""
    pixels = pixel_axes(size, device=field.device)
    if stride == 1:
        return field.coarse_grid(pixels)
    cells = pixel_axes([ceil(n / stride) for n in size], device=field.device)
    return sample_grid(field.coarse_grid(cells), pixels)


@dataclass(frozen=True)
class DenseConfig:
    """Every pixel is rendered."""

    def build(self) -> "DenseRenderer":
        """The renderer."""
        return DenseRenderer()


class DenseRenderer:
    """The field's answer at every pixel: what rendering would give with no limit on points."""

    def render(self, field: Field, size: Sequence[int] | None = None) -> Rendering:
        """See :class:`Renderer`."""
        pixels = pixel_axes(size or field.size, device=field.device)
        refined = field.query_grid(pixels, rendered=True)
        index = torch.arange(prod(size or field.size), device=refined.device)
        coarse = field.coarse_grid(pixels)
        return Rendering(coarse, refined, index.expand(refined.shape[0], -1))


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

    def render(self, field: Field, size: Sequence[int] | None = None) -> Rendering:
        """See :class:`Renderer`."""
        size = tuple(size or field.size)
        coarse = coarse_logits(field, size, stride=self.config.coarse_stride)
        batch, total = coarse.shape[0], prod(size)
        refined = coarse
        uncertainty = margin(coarse.flatten(2), dim=1)  # (B, N)
        chosen = torch.empty(batch, 0, dtype=torch.long, device=coarse.device)
        for _ in range(self.config.passes):
            count = min(self.config.points, total - chosen.shape[1])
            if count == 0:
                break
            index = uncertainty.topk(count, dim=1).indices
            refined = scatter_points(refined, index, field.logits(index_to_coords(index, size)))
            uncertainty = uncertainty.scatter(1, index, float("-inf"))
            chosen = torch.cat([chosen, index], dim=1)
        return Rendering(coarse, refined, chosen)


RENDERERS: Registry[Any] = Registry("renderer")
RENDERERS.register("dense", DenseConfig)
RENDERERS.register("refine", RefineConfig)
