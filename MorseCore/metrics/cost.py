"""What a network costs: parameters, and operations of one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "measure_cost"]


@dataclass(frozen=True)
class Cost:
    """Of one image. The "FLOPs" in the tables of I²Net and SwIPE are MACs."""

    parameters: int
    """Trainable numbers."""
    macs: int
    """Multiplications with addition, of matrix products, convolutions and attention only."""
    is_dense: bool = False
    """Whether every pixel was asked, in place of as many as the mask calls for."""


def measure_cost(
    network: nn.Module, run: Callable[[torch.Tensor], object], *, size: Sequence[int]
) -> Cost:
    """Count on an image (1, 1, *size) of zeros what ``run`` makes the network do.

    Example::

        measure_cost(network, lambda image: renderer.render(network(image)), size=(96, 96, 96))

    :param run: a forward pass; a network alone only prepares a field, so render or query it. A
        renderer that asks more points of one mask than of another (``mise``) has no one cost:
        measure it as ``dense``.
    """
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    was_training = network.training
    network.eval()
    try:
        # inference_mode would hide the operations from the counter
        with torch.no_grad(), counter:
            run(torch.zeros(1, 1, *size, device=device))
    finally:
        network.train(was_training)
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Cost(parameters, counter.get_total_flops() // 2)
