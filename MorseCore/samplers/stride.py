"""A regular grid of pixels: every n-th along each axis (I²Net's sampling)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.points import grid_coords
from MorseCore.samplers.sampler import CoarseGrid
from MorseCore.system.seeds import home_of

__all__ = ["StrideConfig", "StrideSampler"]


@dataclass(frozen=True)
class StrideConfig:
    """Parameters of :class:`StrideSampler`."""

    presample: ClassVar[None] = None
    stride: int = 4
    """n; 4 is I²Net's."""
    random_phase: bool = False
    """Begin the grid at another pixel in each step, along each axis. Otherwise every step
    takes the same pixels, and only the augmentation shows what lies between them."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"'stride' must be positive; found {self.stride}.")

    def build(self) -> "StrideSampler":
        """The sampler."""
        return StrideSampler(self)


class StrideSampler:
    """I²Net's N_p = (H/4)(W/4): the centres of 4x4 cells, no chance ("Sampling").

    The centre of a cell of an even number of pixels is a corner of four of them, where no label is
    defined; the paper learns on its interpolated output instead. Here it is the pixel behind that
    corner, number n // 2 of its cell, so that a point and its label lie at one place.
    """

    def __init__(self, config: StrideConfig) -> None:
        self.config = config

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        coarse: CoarseGrid | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coordinates (B, P, D) of pixel centres; one phase for all images of the batch."""
        axes = []
        for axis in field.pixels():
            cell = min(self.config.stride, len(axis))
            first = cell // 2
            if self.config.random_phase:
                home = home_of(generator)
                first = int(torch.randint(cell, (), generator=generator, device=home))
            axes.append(axis[first :: self.config.stride])
        return grid_coords(axes).expand(field.batch, -1, -1)
