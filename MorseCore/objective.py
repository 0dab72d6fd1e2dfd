"""What a training step minimises: network and losses as one module."""

import torch
from torch import Tensor, nn

from MorseCore.losses import render_weight
from MorseCore.network import Network
from MorseCore.training_config import OptimisationConfig, RunConfig

__all__ = ["Objective", "is_trained", "learning_rate", "loss_weights"]


class Objective(nn.Module):
    """Network and losses in one forward pass, so that ``DistributedDataParallel`` can wrap it."""

    def __init__(self, network: Network, config: RunConfig) -> None:
        super().__init__()
        self.network = network
        self._sampler = config.sampler.build()
        self._stride = config.optimisation.supervision_stride

    def forward(
        self, image: Tensor, labels: Tensor, active: tuple[str, ...], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses by name of a batch (B, C_in, *S), (B, *S)."""
        field = self.network(image, generator=generator)
        losses: dict[str, Tensor] = self.network.head.losses(
            field, labels, sampler=self._sampler, active=active, stride=self._stride,
            generator=generator,
        )  # fmt: skip
        return losses


def loss_weights(
    names: tuple[str, ...], step: int, options: OptimisationConfig
) -> dict[str, float]:
    """Weight of each loss of a head in a step, counted from 0; those at 0 are left out."""
    rendering = render_weight(
        options.schedule, step, steps=options.iterations, peak=options.render_weight
    )
    weights = {name: rendering if name == "rend" else 1.0 for name in names}
    return {name: weight for name, weight in weights.items() if weight > 0}


def learning_rate(step: int, options: OptimisationConfig) -> float:
    """Polynomial decay, ``rate * (1 - t / T) ** power``, of a step counted from 0.

    A function of the step alone, so that a resumed run has no schedule to restore and a skipped
    step shifts nothing.
    """
    return options.learning_rate * (1 - step / options.iterations) ** options.power


def is_trained(names: tuple[str, ...], steps: int, options: OptimisationConfig) -> bool:
    """Whether after so many steps every branch of a head has been trained.

    Before, what the head renders is chance, and says nothing about the weights.
    """
    return steps > 0 and set(loss_weights(names, steps - 1, options)) == set(names)
