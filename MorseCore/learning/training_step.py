"""One optimiser step on one process or many.

The batches of a step, ``accumulate`` on each process, are numbered through, and what a batch draws
depends on (seed, step, number) alone: to the weights 2 processes do what 1 process does that
accumulates 2. Running statistics of batch normalisation are those of the first process's batches.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from MorseCore.learning.average import WeightAverage
from MorseCore.learning.distributed import World
from MorseCore.learning.minibatch import Minibatch
from MorseCore.learning.objective import Objective, class_weighting, loss_weights
from MorseCore.learning.optimisers import build_optimizer, learning_rate
from MorseCore.learning.training_config import RunConfig
from MorseCore.network import Network
from MorseCore.precision import autocast, resolve_precision
from MorseCore.seeds import generator_for, seed_for

__all__ = ["StepResult", "Stepper"]

Batches = Iterator[Minibatch]


@dataclass(frozen=True)
class StepResult:
    """What all processes agree on after a step."""

    losses: Mapping[str, float]
    """Mean of each loss and ``total``; empty if the step was skipped."""
    stop: bool
    """A process was asked to stop."""


class Stepper:
    """Network, losses, optimiser and mixed precision; knows nothing of runs and files."""

    def __init__(self, config: RunConfig, network: Network, world: World) -> None:
        self._seed, self._options = config.seed, config.optimisation
        self._network, self._world = network.to(world.device), world
        self._objective: nn.Module = Objective(network, config)
        if world.size > 1:
            # The rendering branch has no gradient while its weight is 0.
            self._objective = DistributedDataParallel(self._objective, find_unused_parameters=True)
        self._is_frozen = config.train == "head"
        if self._is_frozen:
            network.backbone.requires_grad_(False)
        trained = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = build_optimizer(trained, self._options)
        self._average = (
            WeightAverage(network, self._options.average) if self._options.average else None
        )
        is_fp16 = resolve_precision(world.device, self._options.precision) == "fp16"
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=is_fp16)

    def step(self, step: int, batches: Batches, *, asked: bool = False) -> StepResult:
        """Take one step, or skip it if a loss or the gradient is not finite.

        :param step: counted from 0.
        :param batches: gives ``accumulate`` batches.
        :param asked: whether this process was asked to stop.
        """
        weights = loss_weights(self._network.head.loss_weights, step, self._options)
        buffers = [buffer.clone() for buffer in self._network.buffers()]
        self._objective.train()
        if self._is_frozen:
            self._network.backbone.eval()  # batch statistics stay, nothing is dropped
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for micro in range(self._options.accumulate):
            losses = self._backward(next(batches), weights, step, micro)
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(loss)) + loss
        means, stop = self._agree(sums, asked=asked)
        if math.isfinite(means["total"]) and self._apply_gradients(step):
            if self._average is not None:
                self._average.update()
            return StepResult(means, stop)
        for buffer, before in zip(self._network.buffers(), buffers, strict=True):
            buffer.copy_(before)  # batch statistics that are not finite would stay for ever
        return StepResult({}, stop)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        state = {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}
        return state | ({"average": self._average.state_dict()} if self._average else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty without fp16: the run may have moved to another GPU
            self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def begin_average(self) -> None:
        """Begin the running average anew at the present weights."""
        if self._average is not None:
            self._average = WeightAverage(self._network, self._options.average)

    def averaged(self) -> AbstractContextManager[None]:
        """Meanwhile the network has the running average as its weights, if there is one."""
        return nullcontext() if self._average is None else self._average.in_place()

    def _backward(
        self, batch: Minibatch, weights: Mapping[str, float], step: int, micro: int
    ) -> dict[str, Tensor]:
        """Add the gradient of one batch; its share of each loss, detached."""
        accumulate, device = self._options.accumulate, self._world.device
        number = self._world.rank * accumulate + micro
        # torch's own dropout layers can only draw from the global generator.
        torch.manual_seed(seed_for(self._seed, "torch", step, number))
        generator = generator_for(self._seed, "step", step, number)
        with self._no_sync() if micro < accumulate - 1 else nullcontext():
            with autocast(device, self._options.precision):
                losses = self._objective(
                    batch.to(device), tuple(weights), generator,
                    class_weighting(step, self._options),
                )  # fmt: skip
            total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
            self._scaler.scale(total / accumulate).backward()
        return {
            name: loss.detach() / accumulate for name, loss in {**losses, "total": total}.items()
        }

    def _no_sync(self) -> AbstractContextManager[Any]:
        """Gradients are exchanged once a step, with the last batch."""
        shared = isinstance(self._objective, DistributedDataParallel)
        return self._objective.no_sync() if shared else nullcontext()  # type: ignore[operator]

    def _agree(self, sums: Mapping[str, Tensor], *, asked: bool) -> tuple[dict[str, float], bool]:
        """Means over all processes, and whether one was asked to stop: all must stop together."""
        flag = torch.full_like(sums["total"], float(asked))
        *values, stop = self._world.mean(torch.stack([*sums.values(), flag])).tolist()
        return dict(zip(sums, values, strict=True)), stop > 0

    def _apply_gradients(self, step: int) -> bool:
        """Clip and step; False, and no step, if the gradient is not finite.

        Clipping alone would multiply an infinite gradient by zero and write NaN into the weights.
        """
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._options.clip)
        is_finite = bool(torch.isfinite(norm))  # with fp16 the first steps may overflow
        if is_finite:
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate(step, self._options)
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return is_finite
