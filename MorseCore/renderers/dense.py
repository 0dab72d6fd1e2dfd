"""Every pixel is rendered."""

from dataclasses import dataclass
from math import prod

import torch

from MorseCore.field import Field
from MorseCore.points import Axes
from MorseCore.renderers.renderer import Rendering

__all__ = ["DenseConfig", "DenseRenderer"]


@dataclass(frozen=True)
class DenseConfig:
    """No options."""

    def build(self) -> "DenseRenderer":
        """The renderer."""
        return DenseRenderer()

    def most_points(self, total: int) -> int:
        """Every pixel."""
        return total


class DenseRenderer:
    """The field's answer at every pixel: the result of rendering without a limit on points."""

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        refined = field.query_grid(axes, rendered=True)
        batch, total = refined.shape[0], prod(refined.shape[2:])
        index = torch.arange(total, device=refined.device).expand(batch, -1)
        return Rendering(field.coarse_grid(axes), refined, index, batch * total)
