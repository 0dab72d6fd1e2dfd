"""Points where the network is unsure, and a few anywhere (PointRend §3.2, MORSE §2)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.points import gather_points, grid_coords, margin, pick_coords
from MorseCore.samplers.sampler import CoarseGrid
from MorseCore.system.seeds import home_of

__all__ = ["UncertainConfig", "UncertainSampler", "near_boundary"]

MOST_NEAR = 8.0  # pixels: the work grows with the distance's cube


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
    near_share: float = 0.0
    """Share of the points that is drawn uniformly near the labels' boundary, whatever the network
    is sure of; the others are drawn as above. Not in the papers. Points then lie in the label's own
    grid, also where L_sup is taken at fewer pixels."""
    near_distance: float = 2.0
    """How near, in pixels or voxels."""

    def __post_init__(self) -> None:
        if not 0 <= self.near_share <= 1:
            raise ConfigError(f"'near_share' must lie in [0, 1]; found {self.near_share}.")
        if not 0 < self.near_distance <= MOST_NEAR:
            raise ConfigError(
                f"'near_distance' must lie above 0 and be at most {MOST_NEAR}; "
                f"found {self.near_distance}."
            )
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

    With a ``near_share`` so many of the N_p are drawn near the labels' boundary first. A crop that
    holds too few such pixels has others in their place.
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
        config = self.config
        if config.near_share:
            coarse = None  # of some pixels, perhaps
        axes = field.pixels() if coarse is None else coarse.axes
        total = prod(len(axis) for axis in axes)
        points = config.points if config.continuous else min(config.points, total)
        near = round(config.near_share * points)
        candidates = round((points - near) * config.oversample)
        uncertain = round(config.importance * (points - near))
        if config.continuous:
            shape = (field.batch, candidates, len(axes))
            coords = _draw_coords(shape, generator).to(field.device)
            kept = coords.gather(1, _largest(_ask(field, coords), uncertain, dims=len(axes)))
            parts = [kept]
            if near:
                taken: list[list[int]] = [[]] * field.batch
                pixels = self._draw_near(targets.labels, taken, near, generator)
                parts.append(_inside_pixels(pixels, field, generator))
            shape = (field.batch, points - near - uncertain, len(axes))
            return torch.cat([*parts, _draw_coords(shape, generator).to(field.device)], dim=1)
        index = _draw_pixels([[]] * field.batch, min(candidates, total), total, generator)
        grid = grid_coords(axes)[0]
        uncertainty = (
            _ask(field, grid[index.to(field.device)]) if coarse is None
            else margin(gather_points(coarse.logits, index.to(field.device)))
        )  # fmt: skip
        kept = index.gather(1, _largest(uncertainty, uncertain).to(index.device))
        if near:
            close = self._draw_near(targets.labels, kept.tolist(), near, generator)
            kept = torch.cat([kept, close], dim=1)
        others = _draw_pixels(kept.tolist(), points - near - uncertain, total, generator)
        return grid[torch.cat([kept, others], dim=1).to(field.device)]

    def _draw_near(
        self,
        labels: Tensor,
        without: Sequence[Sequence[int]],
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """(B, count) of so many pixels near the boundary of labels (B, *S), each once.

        Others where there are too few.
        """
        home = home_of(generator)
        close = near_boundary(labels, self.config.near_distance).flatten(1)
        rows = []
        for taken, inside in zip(without, close, strict=True):
            free = inside.clone()
            free[torch.tensor(taken, dtype=torch.long, device=free.device)] = False
            listed = free.nonzero()[:, 0].to(home)
            order = torch.randperm(len(listed), generator=generator, device=home)[:count]
            found = listed[order]
            missing = count - len(found)
            others = _draw_pixels([[*taken, *found.tolist()]], missing, close.shape[1], generator)[
                0
            ]
            rows.append(torch.cat([found, others]))
        return torch.stack(rows)


def near_boundary(labels: Tensor, distance: float) -> Tensor:
    """The pixels (B, *S) bool whose centre lies at most so far from where two labels meet.

    The boundary lies half a pixel before the first pixel of another label. That of the image is
    none: the label may go on behind it.
    """
    size, near = labels.shape[1:], torch.zeros_like(labels, dtype=torch.bool)
    reach = int(distance + 0.5)
    for step in itertools.product(range(-reach, reach + 1), repeat=len(size)):
        # One of two opposite steps: what differs does so from both sides.
        if step <= (0,) * len(size) or sum(n * n for n in step) > (distance + 0.5) ** 2:
            continue
        here = (
            slice(None),
            *(slice(max(0, -n), min(s, s - n)) for n, s in zip(step, size, strict=True)),
        )
        there = (
            slice(None),
            *(slice(max(0, n), min(s, s + n)) for n, s in zip(step, size, strict=True)),
        )
        differs = labels[here] != labels[there]
        near[here] |= differs
        near[there] |= differs
    return near


def _inside_pixels(index: Tensor, field: Field, generator: torch.Generator | None) -> Tensor:
    """Coordinates (B, P, D) anywhere inside pixels, by flat index (B, P)."""
    shape = (*index.shape, len(field.size))
    inside = torch.rand(shape, generator=generator, device=home_of(generator)).to(field.device)
    pixel = 2 / torch.tensor(field.size[::-1], device=field.device)
    return pick_coords(field.pixels(), index.to(field.device)) + (inside - 0.5) * pixel


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
