"""The last step of training: the rendering head alone, on features as they are at inference.

While the network learns, stochastic routing leaves most experts out and dropout thins x_out, so the
rendering head learns on features that it will not meet: at inference all experts take part. A short
training of the head alone, with everything else as at inference, mends that. Its loss may be that
of the coarse mask, CE + Dice: a mask trained for Dice is a little larger at unsure places than one
trained for cross-entropy alone, and would lose DSC by being rendered. Neither is in the paper.
"""

import logging
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from MorseCore.losses import point_cross_entropy
from MorseCore.network import Network
from MorseCore.samplers import Sampler
from MorseCore.system.seeds import generator_for
from MorseCore.training.samples import Minibatch

__all__ = ["finish_rendering"]

log = logging.getLogger(__name__)


def finish_rendering(
    network: Network,
    batches: Iterable[Minibatch],
    *,
    sampler: Sampler,
    steps: int,
    learning_rate: float,
    clip: float,
    seed: int,
    stride: int = 1,
    point_loss: Callable[[Tensor, Tensor], Tensor] = point_cross_entropy,
) -> float:
    """Train what only the rendered answer depends on; the coarse answer stays as it is.

    In single precision: these are few steps of a small network.

    :param batches: at least ``steps`` of them.
    :param learning_rate: at the start; falls to zero along a cosine.
    :param clip: largest norm of the gradient.
    :return: mean loss of the last tenth of the steps; NaN if there is nothing to train.
    """
    parameters = network.head.rendering_parameters()
    if not parameters or not steps:
        return math.nan
    device = parameters[0].device
    frozen = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.eval()  # no dropout, no routing, fixed batch statistics: as at inference
    losses = []
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        for step, batch in zip(range(steps), batches, strict=False):
            batch = batch.to(device)
            loss = network.head.losses(
                network(batch.image, to_source=batch.to_source), batch.targets,
                sampler=sampler, active=("rend",), stride=stride, point_loss=point_loss,
                generator=generator_for(seed, "finishing", step),
            )["rend"]  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if (step + 1) % 100 == 0:
                log.info("finishing step %d of %d: %.4f", step + 1, steps, _tail(losses))
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    return _tail(losses)


def _tail(losses: list[float]) -> float:
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail) if tail else math.nan
