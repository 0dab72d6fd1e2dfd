"""The cost of a network: parameters, and operations of one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "measure_cost"]


@dataclass(frozen=True)
class Cost:
    """The cost of one image. The "FLOPs" in the tables of I²Net and SwIPE are MACs."""

    parameters: int
    """Trainable numbers."""
    macs: int
    """Multiply-adds of matrix products, convolutions and attention only."""
    is_dense: bool = False
    """Whether every pixel was evaluated, instead of as many as the mask calls for."""


def measure_cost(
    network: nn.Module, run: Callable[[torch.Tensor], object], *, size: Sequence[int]
) -> Cost:
    """Count the operations of ``run`` on an image (1, 1, *size) of zeros.

    Example::

        measure_cost(network, lambda image: renderer.render(network(image)), size=(96, 96, 96))

    :param run: a forward pass. A network alone only prepares a field, so render or query it. The
        cost of a renderer such as ``mise`` depends on the mask: measure it as ``dense``.
    """
    device = next(network.parameters()).device
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.addmm_: _flops_of_product_in_place}
    )
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


def _flops_of_product_in_place(
    total: Sequence[int], left: Sequence[int], right: Sequence[int], **_: object
) -> int:
    """Of ``total += left @ right``, by shapes: torch's counter knows ``addmm`` but not this."""
    return 2 * left[0] * left[1] * right[1]
