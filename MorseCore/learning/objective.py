"""What a training step minimises: network and losses as one module."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from MorseCore.learning.minibatch import Minibatch
from MorseCore.learning.training_config import OptimisationConfig, RunConfig
from MorseCore.losses import render_weight
from MorseCore.network import Network
from MorseCore.soft_loss import ClassWeighting

__all__ = ["Objective", "class_weighting", "is_trained", "loss_weights"]


class Objective(nn.Module):
    """Network and losses in one forward pass, so that ``DistributedDataParallel`` can wrap it."""

    def __init__(self, network: Network, config: RunConfig) -> None:
        super().__init__()
        self.network = network
        self._sampler = config.sampler.build()
        self._stride = config.optimisation.supervision_stride

    def forward(
        self,
        batch: Minibatch,
        active: tuple[str, ...],
        generator: torch.Generator,
        weighting: ClassWeighting = "none",
    ) -> dict[str, Tensor]:
        """Losses by name."""
        field = self.network(batch.image, to_source=batch.to_source, generator=generator)
        losses: dict[str, Tensor] = self.network.head.losses(
            field, batch.targets, sampler=self._sampler, active=active, stride=self._stride,
            weighting=weighting, generator=generator,
        )  # fmt: skip
        return losses


def loss_weights(
    base: Mapping[str, float], step: int, options: OptimisationConfig
) -> dict[str, float]:
    """Weight of each loss of a head in a step, counted from 0; those at 0 are left out.

    :param base: the head's own weights.
    """
    rendering = render_weight(
        options.schedule, step, steps=options.iterations, peak=options.render_weight
    )
    weights = {n: weight * rendering if n == "rend" else weight for n, weight in base.items()}
    return {name: weight for name, weight in weights.items() if weight > 0}


def class_weighting(step: int, options: OptimisationConfig) -> ClassWeighting:
    """How classes are weighted in a step, counted from 0."""
    is_late = step >= options.class_weighting_until * options.iterations
    return "none" if is_late else options.class_weighting


def is_trained(base: Mapping[str, float], steps: int, options: OptimisationConfig) -> bool:
    """Whether after so many steps every branch of a head has been trained.

    Before, what the head renders is chance, and says nothing about the weights.
    """
    wanted = {name for name, weight in base.items() if weight > 0}
    return steps > 0 and set(loss_weights(base, steps - 1, options)) == wanted
