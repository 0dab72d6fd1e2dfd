"""The most uncertain pixels of the coarse map are rendered (MORSE §2, IAR)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import CHUNK, Field
from MorseCore.points import Axes, grid_coords, margin, scatter_points
from MorseCore.renderers.renderer import Rendering, ask_pixels, coarse_logits

__all__ = ["RefineConfig", "RefineRenderer"]


Ranking = Literal["margin", "head"]
Voxels = Literal["model", "scan"]


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
    points_fraction: float = 0.0
    """Above 0: points a pass as a share of the grid's pixels, in place of ``points``. 8192 points
    are 12.5 % of a 256x256 slice but 0.9 % of a 96^3 window, where 0.02 to 0.05 do better."""

    certain_margin: float = 0.0
    """Above 0: a pixel whose best coarse logit leads the second by more than this is certain, and
    is not rendered even if points are left: ``points`` becomes the most that are rendered. At 5
    the best class is 148 times as probable as the second. The paper renders N_p points always."""

    uncertainty: Ranking = "margin"
    """Which pixels are rendered: those of the smallest ``margin`` of coarse logits, or those of the
    ``head``'s own uncertainty (SwIPE's variance over neighbouring patches)."""

    voxels: Voxels = "model"
    """Which voxels of a volume are rendered when a scan is segmented. ``model``: those of the
    model's grid, whose answers are then interpolated to the scan. ``scan``: the scan's own,
    wherever they lie; the coarse map stays at the backbone's resolution, and ``certain_margin``
    says where it needs no second look (:mod:`MorseCore.inference.scan_voxels`)."""

    def __post_init__(self) -> None:
        if self.uncertainty not in get_args(Ranking):
            raise ConfigError(
                f"'uncertainty' must be 'margin' or 'head'; found '{self.uncertainty}'."
            )
        if self.points < 0 or self.passes < 0 or self.coarse_stride < 1:
            raise ConfigError(
                "'points' and 'passes' must not be negative and 'coarse_stride' must be positive; "
                f"found {self.points}, {self.passes} and {self.coarse_stride}."
            )
        if self.certain_margin < 0:
            raise ConfigError(
                f"'certain_margin' must not be negative; found {self.certain_margin}."
            )
        if self.certain_margin and self.uncertainty != "margin":
            raise ConfigError("'certain_margin' needs the uncertainty 'margin'.")
        if self.voxels not in get_args(Voxels):
            raise ConfigError(f"'voxels' must be 'model' or 'scan'; found '{self.voxels}'.")
        if self.voxels == "scan" and not self.certain_margin:
            raise ConfigError("The 'voxels' scan need a 'certain_margin' above 0.")
        if not 0 <= self.points_fraction <= 1:
            raise ConfigError(
                f"'points_fraction' must lie in [0, 1]; found {self.points_fraction}."
            )

    def points_of(self, total: int) -> int:
        """Points a pass on a grid of so many pixels; may exceed them."""
        return round(self.points_fraction * total) if self.points_fraction else self.points

    def build(self) -> "RefineRenderer":
        """The renderer."""
        return RefineRenderer(self)

    def most_points(self, total: int) -> int:
        """K N_p, or all there are; nobody knows how many of a scan's voxels lie in a window."""
        wanted = self.passes * self.points_of(total)
        return wanted if self.voxels == "scan" else min(wanted, total)


class RefineRenderer:
    """MORSE's inference (§2, IAR): render the most uncertain pixels, write them back, repeat.

    A further pass leaves out what was rendered, and an answer changes neither another pixel's nor
    how uncertain that is. So K passes of N points are the K N most uncertain pixels, which are
    rendered at once. In the released code a second pass mostly repeats the first one.
    """

    def __init__(self, config: RefineConfig) -> None:
        self.config = config

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`."""
        axes = axes or field.pixels()
        coarse = coarse_logits(field, axes, stride=self.config.coarse_stride)
        total = prod(coarse.shape[2:])
        wanted = min(self.config.most_points(total), total)
        nothing = coarse.new_empty(len(coarse), 0, dtype=torch.long)
        if wanted == 0:
            return Rendering(coarse, coarse, nothing, 0)
        rank = self._rank(field, coarse, axes)
        counts = self._counts(rank, wanted)
        if max(counts) == 0:
            return Rendering(coarse, coarse, nothing, 0)
        index = rank.topk(max(counts), dim=1).indices
        if min(counts) < max(counts):
            index = _repeat_first(index, counts)
        refined = scatter_points(coarse, index, ask_pixels(field, axes, index))
        untouched = tuple(n for n, count in enumerate(counts) if count == 0)
        for image in untouched:
            refined[image] = coarse[image]
        return Rendering(coarse, refined, index, sum(counts), untouched)

    def _counts(self, rank: Tensor, wanted: int) -> list[int]:
        """How many pixels of each image are rendered: all that are wanted, or the uncertain ones.

        :param rank: (B, N), see :meth:`_rank`.
        """
        if not self.config.certain_margin:
            return [wanted] * len(rank)
        uncertain = (rank >= -self.config.certain_margin).sum(1)
        return [min(wanted, count) for count in uncertain.tolist()]

    def _rank(self, field: Field, coarse: Tensor, axes: Axes) -> Tensor:
        """(B, N), larger where a pixel is to be rendered sooner.

        :raises ConfigError: if the head's own uncertainty is wanted and it has none.
        """
        if self.config.uncertainty == "margin":
            return margin(coarse.flatten(2), dim=1)
        coords = grid_coords(axes).to(field.device).expand(field.batch, -1, -1)
        parts = [field.uncertainty(part) for part in coords.split(CHUNK, dim=1)]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            raise ConfigError(
                "The head has no uncertainty of its own; set the renderer's 'uncertainty' to "
                "'margin'."
            )
        return torch.cat(known, dim=1)


def _repeat_first(index: Tensor, counts: Sequence[int]) -> Tensor:
    """Indices (B, P) of which each row has its first ``counts`` only, and repeats the first one.

    The row of an image without any names its most uncertain pixel, which is of no consequence.
    """
    limits = torch.tensor(counts, device=index.device)[:, None]
    order = torch.arange(index.shape[1], device=index.device)
    return torch.where(order < limits, index, index[:, :1])
