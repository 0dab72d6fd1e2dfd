"""The base of heads that are trained at points only: INRs, whose answer is the same everywhere."""

from collections.abc import Collection
from types import MappingProxyType

import torch
from torch import Tensor, nn

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import Head
from MorseCore.losses import ClassWeighting, Targets, point_region_loss
from MorseCore.points import labels_at
from MorseCore.samplers import Sampler

__all__ = ["PointField", "PointHead"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class PointField(Field):
    """A field whose coarse and final answer are the same function of the point."""

    def coarse(self, coords: Tensor) -> Tensor:
        return self.logits(coords)


class PointHead(Head):
    """A head without a coarse map: L_sup is taken at the sampler's points.

    A head with further losses names them in ``loss_weights`` and overrides :meth:`point_losses`.
    """

    loss_weights = MappingProxyType({"sup": 1.0})

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
        """See :class:`Head`; ``stride``, ``cell`` and ``weighting`` have no meaning here."""
        if targets.unannotated is not None:
            raise ConfigError(
                "This head cannot learn from cases in which a structure is not annotated; choose "
                "the head morse, or leave those cases out."
            )
        coords = self.select(field, targets, sampler=sampler, generator=generator)
        labels = labels_at(targets.labels, coords)
        return self.point_losses(field, coords, labels, active=active, generator=generator)

    def point_losses(
        self,
        field: Field,
        coords: Tensor,
        labels: Tensor,
        *,
        active: Collection[str],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Losses by name, of those in ``active``, at points (B, P, D) with labels (B, P)."""
        if "sup" not in active:
            return {}
        return {"sup": point_region_loss(field.logits(coords), labels)}

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        sampler: Sampler,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The sampler's coordinates (B, P, D).

        A sampler may ask the field for its uncertainty. Points that are only looked at do not enter
        the running statistics of batch normalisation. Those of the batch are used, as for the loss:
        running ones differ between a second batch of one process and that of a second process.
        """
        norms = [m for m in self.modules() if isinstance(m, _NORMS) and m.track_running_stats]
        try:
            for norm in norms if self.training else []:
                norm.track_running_stats = False
            return sampler.select(field, targets, generator=generator)
        finally:
            for norm in norms:
                norm.track_running_stats = True
