"""Points where the network is unsure, and a few anywhere (PointRend §3.2, MORSE §2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.points import gather_points, grid_coords, margin
from MorseCore.samplers.sampler import CoarseGrid
from MorseCore.system.seeds import home_of

__all__ = ["UncertainConfig", "UncertainSampler"]


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

    Of k_p N_p candidates, drawn uniformly, the rho N_p most uncertain are kept; the others of the
    N_p points are drawn uniformly from the remaining pixels, candidates or not. No pixel counts
    twice. The released code's two draws may hold a pixel several times.
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
        """Coordinates (B, P, D), the uncertain ones first; fewer than N_p on a smaller grid."""
        axes = field.pixels() if coarse is None else coarse.axes
        config, total = self.config, prod(len(axis) for axis in axes)
        points = config.points if config.continuous else min(config.points, total)
        candidates = round(points * config.oversample)
        uncertain = round(config.importance * points)
        if config.continuous:
            shape = (field.batch, candidates, len(axes))
            coords = _draw_coords(shape, generator).to(field.device)
            kept = coords.gather(1, _largest(_ask(field, coords), uncertain, dims=len(axes)))
            shape = (field.batch, points - uncertain, len(axes))
            return torch.cat([kept, _draw_coords(shape, generator).to(field.device)], dim=1)
        index = _draw_pixels([[]] * field.batch, min(candidates, total), total, generator)
        grid = grid_coords(axes)[0]
        uncertainty = (
            _ask(field, grid[index.to(field.device)]) if coarse is None
            else margin(gather_points(coarse.logits, index.to(field.device)))
        )  # fmt: skip
        kept = index.gather(1, _largest(uncertainty, uncertain).to(index.device))
        others = _draw_pixels(kept.tolist(), points - uncertain, total, generator)
        return grid[torch.cat([kept, others], dim=1).to(field.device)]


def _ask(field: Field, coords: Tensor) -> Tensor:
    """u of the coarse logits at coordinates: (B, P, D) -> (B, P), without gradient."""
    with torch.no_grad():
        uncertainty = margin(field.coarse(coords))
    # Weights that were cast here have no gradient; some versions of torch would use them for the
    # loss, too (pytorch#142234).
    torch.clear_autocast_cache()
    return uncertainty


def _largest(uncertainty: Tensor, count: int, *, dims: int = 0) -> Tensor:
    """Positions (B, count) of the most uncertain of (B, P); with ``dims``, repeated D times."""
    order = uncertainty.argsort(dim=1, descending=True, stable=True)[:, :count]
    return order[..., None].expand(-1, -1, dims) if dims else order


def _draw_coords(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    return 2 * torch.rand(shape, generator=generator, device=home_of(generator)) - 1


def _draw_pixels(
    without: Sequence[Sequence[int]],
    count: int,
    total: int,
    generator: torch.Generator | None,
) -> Tensor:
    """(B, count) of so many pixels, uniformly and each once, of all but those ``without``."""
    home = home_of(generator)
    rows = []
    for taken in without:
        order = torch.randperm(total, generator=generator, device=home)[: count + len(taken)]
        free = ~torch.isin(order, torch.tensor(taken, dtype=torch.long, device=home))
        rows.append(order[free][:count])
    return torch.stack(rows)
