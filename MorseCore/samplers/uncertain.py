"""Points where the network is unsure, and a few anywhere (PointRend §3.2, MORSE §2)."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import gather_points, grid_coords, margin
from MorseCore.samplers.sampler import CoarseGrid, home_of
from MorseCore.targets import Targets

__all__ = ["UncertainConfig", "UncertainSampler", "select_uncertain_points"]


def select_uncertain_points(
    uncertainty: Tensor, num_uncertain: int, *, num_random: int, generator: torch.Generator | None
) -> Tensor:
    """Positions (B, U + R): the U most uncertain of (B, M) candidates and R of the remaining ones.

    :raises ConfigError: if fewer candidates than points are given.
    """
    batch, count = uncertainty.shape
    if num_uncertain + num_random > count:
        raise ConfigError(f"{num_uncertain + num_random} points cannot be drawn from {count}.")
    order = uncertainty.argsort(dim=1, descending=True, stable=True)
    rest = count - num_uncertain
    draw = torch.rand(batch, rest, generator=generator, device=home_of(generator)).to(order.device)
    picked = draw.argsort(dim=1)[:, :num_random] + num_uncertain
    return torch.cat([order[:, :num_uncertain], order.gather(1, picked)], dim=1)


@dataclass(frozen=True)
class UncertainConfig:
    """Parameters of :class:`UncertainSampler`; defaults are the paper's for 2D."""

    presample: ClassVar[None] = None
    points: int = 2048
    """N_p, points an image and step."""
    oversample: float = 3.0
    """k_p: candidates drawn per point. In 3D take 10 to 20: 6144 candidates are 9 % of a 256x256
    slice but 0.7 % of a 96^3 window, whose most uncertain quarter is still mostly interior."""
    importance: float = 0.75
    """rho: share of the points that are the most uncertain candidates; the rest is random."""
    continuous: bool = False
    """Draw off-grid coordinates and sample the logits there (PointRend), not pixel centres."""

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ConfigError(f"'points' must be positive; found {self.points}.")
        if self.oversample < 1:
            raise ConfigError(f"'oversample' must be at least 1; found {self.oversample}.")
        if not 0 <= self.importance <= 1:
            raise ConfigError(f"'importance' must lie in [0, 1]; found {self.importance}.")

    def build(self) -> "UncertainSampler":
        """The sampler."""
        return UncertainSampler(self)


class UncertainSampler:
    """MORSE's point selection (§2, IAR): over-sample, keep the uncertain, add random ones.

    Candidates are pixels drawn without replacement, so that no pixel counts twice; the random
    share comes from the candidates that were not kept, which is a uniform draw from "the remaining
    pixels" given the candidates. The released code adds an independent draw, duplicates included.
    """

    def __init__(self, config: UncertainConfig) -> None:
        self.config = config

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        coarse: CoarseGrid | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coordinates (B, P, D); fewer than N_p when the grid has fewer pixels."""
        axes = field.pixels() if coarse is None else coarse.axes
        config, batch, total = self.config, field.batch, prod(len(axis) for axis in axes)
        points = config.points if config.continuous else min(config.points, total)
        count = round(points * config.oversample)
        if config.continuous:
            shape = (batch, count, len(axes))
            draw = torch.rand(shape, generator=generator, device=home_of(generator))
            coords = 2 * draw.to(field.device) - 1
        else:
            index = _draw_pixels(batch, min(count, total), total, generator).to(field.device)
            coords = grid_coords(axes)[0][index]
        if coarse is None or config.continuous:
            with torch.no_grad():
                uncertainty = margin(field.coarse(coords))
            # Weights that were cast here have no gradient; some versions of torch would use them
            # for the loss, too (pytorch#142234).
            torch.clear_autocast_cache()
        else:
            uncertainty = margin(gather_points(coarse.logits, index))
        uncertain = round(config.importance * points)
        chosen = select_uncertain_points(
            uncertainty, uncertain, num_random=points - uncertain, generator=generator
        )
        return coords.gather(1, chosen[..., None].expand(-1, -1, len(axes)))


def _draw_pixels(batch: int, count: int, total: int, generator: torch.Generator | None) -> Tensor:
    home = home_of(generator)
    rows = [torch.randperm(total, generator=generator, device=home)[:count] for _ in range(batch)]
    return torch.stack(rows)
