"""Optimisers and learning rates of the papers."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from MorseCore.learning.training_config import OptimisationConfig

__all__ = ["build_optimizer", "learning_rate"]


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
    return last + (first - last) * share
