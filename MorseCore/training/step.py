"""One optimiser step on one process or many.

The batches of a step, ``accumulate`` on each process, are numbered through, and what a batch draws
depends on (seed, step, number) alone: to the weights 2 processes do what 1 process does that
accumulates 2. Running statistics of batch normalisation are those of the first process's batches.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from MorseCore.losses import ClassWeighting, render_weight
from MorseCore.network import Network
from MorseCore.system.devices import autocast, resolve_precision
from MorseCore.system.seeds import generator_for, seed_for
from MorseCore.training.config import OptimisationConfig, RunConfig
from MorseCore.training.distributed import World
from MorseCore.training.samples import Minibatch

__all__ = [
    "Objective",
    "StepResult",
    "Stepper",
    "WeightAverage",
    "build_optimizer",
    "class_weighting",
    "is_trained",
    "learning_rate",
    "loss_weights",
]


_REWARMED = 200  # steps in which the rate of a training that was made longer rises again


class Objective(nn.Module):
    """Network and losses in one forward pass, so that ``DistributedDataParallel`` can wrap it."""

    def __init__(self, network: Network, config: RunConfig) -> None:
        super().__init__()
        self.network = network
        self._sampler = config.sampler.build()
        self._stride = config.optimisation.supervision_stride
        is_coarse = config.optimisation.supervision_grid == "backbone"
        self._cell = config.network.backbone_stride if is_coarse else 1

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
            cell=self._cell, weighting=weighting, generator=generator,
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


def build_optimizer(
    parameters: Iterable[nn.Parameter], options: OptimisationConfig
) -> torch.optim.Optimizer:
    """The optimiser that the configuration names; its rate is set anew before each step.

    MORSE's released code has SGD with momentum 0.9, in Nesterov's form in 3D only; MORSE's and
    SwIPE's papers have AdamW and I²Net's configuration Adam.
    """
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, weight_decay=decay,
            momentum=options.momentum, nesterov=options.nesterov,
        )  # fmt: skip
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay)


def learning_rate(step: int, options: OptimisationConfig) -> float:
    """Rate of a step counted from 0.

    A function of the step alone, so that a resumed run has no schedule to restore and a skipped
    step shifts nothing.
    """
    first, last = options.learning_rate, options.final_learning_rate
    if step < options.warmup:
        return first * (step + 1) / (options.warmup + 1)
    done = (step - options.warmup) / (options.iterations - options.warmup)
    done = max(0.0, done - options.hold) / (1 - options.hold) if options.hold < 1 else 0.0
    share = {
        "poly": (1 - done) ** options.power,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "constant": 1.0,
    }[options.decay]
    rate = last + (first - last) * share
    since = step - options.continued_from
    if not options.continued_from or since < 0:
        return rate
    rising = min(_REWARMED, (options.iterations - options.continued_from) // 10)
    return rate * min(1.0, (since + 1) / (rising + 1))


class WeightAverage:
    """Exponential average of a network's parameters; buffers are always the network's own.

    After ``t`` updates the decay is the smaller of ``decay`` and ``t / (t + 9)``, so that the
    random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._parameters = dict(network.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of a step."""
        self._updates += 1
        share = 1 - min(self._decay, self._updates / (self._updates + 9))
        values = list(self._average.values())
        torch._foreach_lerp_(values, list(self._parameters.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the network has the average as its weights."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    def state_dict(self) -> dict[str, object]:
        """Tensors and plain values."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from :meth:`state_dict`.

        :raises KeyError: if it is of another network.
        """
        self._updates = int(state["updates"])  # type: ignore[call-overload]
        average: Mapping[str, Tensor] = state["average"]  # type: ignore[assignment]
        for name, value in self._average.items():
            value.copy_(average[name])

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


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
