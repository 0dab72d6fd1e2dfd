"""What every head does: prepare a field from a pyramid, and say what it should have answered."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.field import Field
from MorseCore.losses import (
    ClassWeighting,
    Targets,
    point_cross_entropy,
    region_loss,
    soft_region_loss,
)
from MorseCore.points import labels_at, pixel_axes
from MorseCore.samplers import CoarseGrid, Sampler
from MorseCore.system.seeds import home_of

__all__ = ["Head", "HeadConfig"]


class Head(nn.Module, ABC):
    """Turns a pyramid into a :class:`Field`. Trainer and predictor know no more than this."""

    loss_weights: Mapping[str, float] = MappingProxyType({"sup": 1.0, "rend": 1.0})
    """The losses that :meth:`losses` can return, each with its weight in the sum. That of ``rend``
    is multiplied by lambda_t, which the training's schedule gives."""

    @property
    def answers_twice(self) -> bool:
        """Whether a rendered answer may differ from the coarse one."""
        return bool(self.rendering_parameters())

    def rendering_parameters(self) -> list[nn.Parameter]:
        """What only the rendered answer depends on; nothing for a head that renders nothing."""
        return []

    @abstractmethod
    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """Once per image: everything that all points share.

        :param image: (B, C_in, *S), the network's input, for a head that looks at intensities at
            the image's own resolution; None: the caller has only the pyramid.
        :param generator: source of the random draws of training (expert dropping, dropout).
        """

    def losses(
        self,
        field: Field,
        targets: Targets,
        *,
        sampler: Sampler,
        active: Collection[str],
        stride: int = 1,
        cell: int = 1,
        weighting: ClassWeighting = "none",
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Scalar losses by name, of those in ``active``.

        ``sup`` is L_sup on the coarse map, ``rend`` is L_rend at the sampled points (MORSE §2).
        Without ``rend`` the rendering branch is not computed at all: exact while its weight is 0.

        :param stride: take L_sup at every ``stride``-th pixel along each axis, with a phase drawn
            anew each step. Neighbouring pixels say nearly the same, so 2 costs little accuracy in
            3D and makes the head's share of a step eight times smaller.
        :param cell: take L_sup on a grid so many times coarser than the image, a backbone's own.
            The soft label of a cell is how often each class is among its pixels. The points stay
            the image's.
        :param weighting: of the classes in L_sup.
        """
        phases = _draw_phases(len(field.size), stride, generator)
        grid = pixel_axes([n // cell for n in field.size], device=field.device)
        axes = [axis[n::stride] for axis, n in zip(grid, phases, strict=True)]
        every = (slice(None), *(slice(n, None, stride) for n in phases))
        coarse = field.coarse_grid(axes)
        result = {}
        if "sup" in active:
            merged = targets.merge_unannotated(coarse, axis=1)
            result["sup"] = _map_loss(merged, targets, every, weighting, cell=cell)
        if "rend" in active and "rend" in self.loss_weights:
            known = CoarseGrid(coarse.detach(), axes) if cell == 1 else None
            coords = sampler.select(field, targets, coarse=known, generator=generator)
            labels = labels_at(targets.labels, coords)
            logits = targets.merge_unannotated(field.logits(coords), axis=2)
            result["rend"] = point_cross_entropy(logits, labels)
        return result


@dataclass(frozen=True)
class HeadConfig(ABC):
    """Options of a head: a frozen dataclass whose fields are the keys of its JSON object."""

    def filled(self, spec: PyramidSpec) -> Self:
        """With a number for every size that is left to a preset or to the maps of the backbone.

        :raises ConfigError: if the backbone does not allow what is asked.
        """
        return self

    @abstractmethod
    def build(self, spec: PyramidSpec, *, num_classes: int) -> Head:
        """The head, for the maps of a backbone.

        :raises ConfigError: if the backbone does not allow what is asked.
        """


def _map_loss(
    coarse: Tensor,
    targets: Targets,
    every: tuple[slice, ...],
    weighting: ClassWeighting,
    *,
    cell: int,
) -> Tensor:
    """L_sup of a map (B, C, *S'), against the pixels ``every`` of the targets, or cells of them."""
    if targets.shares is not None or cell > 1:
        shares = targets.shares_of_cells(cell)[(slice(None), *every)]
        return soft_region_loss(coarse, shares, weighting=weighting)
    labels = targets.labels[every]
    if weighting == "none":
        return region_loss(coarse, labels)
    return soft_region_loss(coarse, labels[:, None], weighting=weighting)


def _draw_phases(dims: int, stride: int, generator: torch.Generator | None) -> list[int]:
    home = home_of(generator)
    return torch.randint(0, stride, (dims,), generator=generator, device=home).tolist()
