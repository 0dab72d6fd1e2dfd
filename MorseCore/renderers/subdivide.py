"""Doubles a coarse grid up to the pixels, and renders what is unsure (PointRend §3.1)."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import Axes, margin, pixel_axes, scatter_points
from MorseCore.renderers.renderer import Rendering, ask_pixels, interpolate

__all__ = ["SubdivideConfig", "SubdivideRenderer"]


@dataclass(frozen=True)
class SubdivideConfig:
    """Parameters of :class:`SubdivideRenderer`; PointRend's in detectron2."""

    points: int = 8192
    """N, points an image (a window) and level."""
    stride: int = 4
    """Of the first grid, in pixels of the last; a power of two. Two levels follow on 4."""

    def __post_init__(self) -> None:
        if self.points < 0:
            raise ConfigError(f"'points' must not be negative; found {self.points}.")
        if self.stride < 2 or self.stride & (self.stride - 1):
            raise ConfigError(f"'stride' must be 2, 4, 8 …; found {self.stride}.")

    def build(self) -> "SubdivideRenderer":
        """The renderer."""
        return SubdivideRenderer(self)

    def most_points(self, total: int) -> int:
        """N at each level, some of them between the pixels."""
        levels = self.stride.bit_length() - 1
        return levels * min(self.points, total)


class SubdivideRenderer:
    """PointRend's adaptive subdivision: double the coarse logits, render the unsure ones, repeat.

    What is doubled are *logits*, linearly, and uncertainty is taken on the doubled ones. The grid
    of each level divides the same box evenly into ceil(n / stride) cells an axis, so a side that is
    no multiple has a slightly narrower grid step, not cells that reach out of the image; where all
    sides are multiples this is detectron2's bilinear doubling.

    ``coarse`` of the rendering is the first grid, interpolated in one step: what there would be
    without the points. ``index`` holds the pixels of the last level alone. The points of the levels
    before lie between pixels; they count as evaluations, and are interpolated afterwards.
    """

    def __init__(self, config: SubdivideConfig) -> None:
        self.config = config

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        logits = field.coarse_grid(_divide(axes, self.config.stride))
        first, batch = logits, logits.shape[0]
        index = torch.empty(batch, 0, dtype=torch.long, device=logits.device)
        evaluations, stride = 0, self.config.stride
        while stride > 1:
            stride //= 2
            cells = _divide(axes, stride)
            logits = _enlarge(logits, cells)
            count = min(self.config.points, prod(logits.shape[2:]))
            index = margin(logits.flatten(2), dim=1).topk(count, dim=1).indices
            logits = scatter_points(logits, index, ask_pixels(field, cells, index))
            evaluations += index.numel()
        return Rendering(_enlarge(first, axes), logits, index, evaluations)


def _divide(axes: Axes, stride: int) -> list[Tensor]:
    """The box of a grid, pixel edges included, divided into cells of about ``stride`` pixels."""
    if stride == 1:
        return list(axes)
    divided = []
    for axis in axes:
        n = len(axis)
        half = (axis[-1] - axis[0]) / (n - 1) / 2 if n > 1 else torch.zeros_like(axis[0])
        low, high = axis[0] - half, axis[-1] + half
        (unit,) = pixel_axes([-(-n // stride)], device=axis.device)
        divided.append((low + high) / 2 + unit * (high - low) / 2)
    return divided


def _enlarge(logits: Tensor, cells: Axes) -> Tensor:
    """Logits on a coarser division of the box of ``cells``, at these."""
    return interpolate(logits, pixel_axes([len(axis) for axis in cells], device=logits.device))
