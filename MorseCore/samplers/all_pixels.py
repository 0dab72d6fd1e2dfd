"""Every pixel of the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.points import grid_coords
from MorseCore.samplers.sampler import CoarseGrid

__all__ = ["AllPixelsConfig", "AllPixelsSampler"]


@dataclass(frozen=True)
class AllPixelsConfig:
    """No options."""

    presample: ClassVar[None] = None

    def build(self) -> "AllPixelsSampler":
        """The sampler."""
        return AllPixelsSampler()


class AllPixelsSampler:
    """Every pixel centre, in row-major order: nothing is random, and the cost is the largest.

    A window of 96^3 has 884,736 points, each with its features and what the backward pass keeps of
    them; in 3D prefer another sampler.
    """

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        coarse: CoarseGrid | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coordinates (B, N, D) of all pixels, even if ``coarse`` holds only some of them."""
        return grid_coords(field.pixels()).expand(field.batch, -1, -1)
