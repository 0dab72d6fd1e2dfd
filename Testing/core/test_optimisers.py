"""Optimisers and learning rates are those that the configuration names."""

import pytest
import torch
from torch import nn

from MorseCore.errors import ConfigError
from MorseCore.learning.optimisers import build_optimizer, learning_rate
from MorseCore.learning.training_config import OptimisationConfig


def test_the_released_codes_optimiser_is_sgd_with_nesterov_momentum() -> None:
    options = OptimisationConfig(optimizer="sgd", learning_rate=0.01, weight_decay=1e-4)
    optimizer = build_optimizer(nn.Linear(2, 1).parameters(), options)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)


def test_adam_decays_through_the_gradient_and_adamw_does_not() -> None:
    kinds = [
        type(build_optimizer(nn.Linear(2, 1).parameters(), OptimisationConfig(optimizer=name)))
        for name in ("adam", "adamw")
    ]
    assert kinds == [torch.optim.Adam, torch.optim.AdamW]


def test_the_rate_falls_as_named_to_where_it_shall_end() -> None:
    def rates(**changes: object) -> list[float]:
        options = OptimisationConfig(iterations=100, learning_rate=1.0, **changes)  # type: ignore[arg-type]
        return [learning_rate(step, options) for step in (0, 50, 99)]

    assert rates() == [1.0, pytest.approx(0.5**0.9), pytest.approx(0.01**0.9)]
    assert rates(decay="cosine", final_learning_rate=0.2)[:2] == [1.0, pytest.approx(0.6)]
    assert rates(decay="cosine", final_learning_rate=0.2)[2] == pytest.approx(0.2, abs=1e-3)
    assert rates(decay="constant") == [1.0, 1.0, 1.0]


def test_a_warm_up_rises_to_the_full_rate() -> None:
    options = OptimisationConfig(iterations=100, learning_rate=1.0, warmup=3)
    rates = [learning_rate(step, options) for step in range(5)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] < 1


def test_rates_that_make_no_sense_are_refused() -> None:
    for changes in ({"warmup": 30_000}, {"momentum": 1.0}, {"final_learning_rate": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            OptimisationConfig(**changes)  # type: ignore[arg-type]
