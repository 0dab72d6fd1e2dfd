"""The interface of samplers: they choose the points of an image at which a loss is computed."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.points import Axes

__all__ = ["CoarseGrid", "Sampler"]


@dataclass(frozen=True, eq=False)
class CoarseGrid:
    """Coarse logits on a product grid of pixels."""

    logits: Tensor
    """(B, C, *lengths of the axes), detached."""
    axes: Axes


class Sampler(Protocol):
    """Chooses coordinates (B, P, D) for one step of training."""

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        coarse: CoarseGrid | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coordinates; the label of each is that of the pixel which holds it.

        :param coarse: logits that the head has computed anyway; without them a sampler that
            needs some asks the field.
        """
        ...
