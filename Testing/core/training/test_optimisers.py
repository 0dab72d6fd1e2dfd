"""Optimisers and learning rates are those that the configuration names."""

import pytest
import torch
from torch import nn

from MorseCore.errors import ConfigError
from MorseCore.training.config import OptimisationConfig
from MorseCore.training.step import build_optimizer, learning_rate


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_released_codes_optimiser_is_sgd_whose_momentum_is_nesterovs_if_asked_for(
    nesterov: bool,
) -> None:
    chosen = {"nesterov": True} if nesterov else {}  # MORSE's code: in 3D only
    options = OptimisationConfig(optimizer="sgd", learning_rate=0.01, weight_decay=1e-4, **chosen)
    optimizer = build_optimizer(nn.Linear(2, 1).parameters(), options)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, nesterov, 1e-4)


def test_the_second_step_of_momentum_is_the_one_that_follows_by_hand() -> None:
    steps = {}
    for nesterov in (False, True):
        weight = nn.Parameter(torch.zeros(1))
        options = OptimisationConfig(
            optimizer="sgd", learning_rate=1.0, weight_decay=0.0, nesterov=nesterov
        )
        optimizer = build_optimizer([weight], options)
        for _ in range(2):
            weight.grad = torch.ones(1)
            optimizer.step()
        steps[nesterov] = -weight.item()
    # Momentum v is 1, then 0.9 + 1; Nesterov steps by 1 + 0.9 v in place of v.
    assert steps == {False: pytest.approx(1 + 1.9), True: pytest.approx(1.9 + 2.71)}


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


@pytest.mark.parametrize("changes", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_nesterov_without_momentum_of_sgd_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'nesterov' needs the 'optimizer' sgd and a 'momentum'"):
        OptimisationConfig(nesterov=True, **changes)  # type: ignore[arg-type]
