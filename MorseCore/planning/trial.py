"""What a step costs on this machine, measured, and how many of them the hours given allow."""

import logging
import time
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch.utils.data import DataLoader

from MorseCore.errors import ConfigError, MorseError
from MorseCore.planning.measures import Fingerprint
from MorseCore.system.memory import available_memory, free_gpu_memory, gigabytes, is_out_of_memory
from MorseCore.system.seeds import seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.distributed import World
from MorseCore.training.needs import step_bytes
from MorseCore.training.samples import Samples
from MorseCore.training.step import Stepper
from MorseCore.training.validation import Validator
from MorseCore.training.verdicts import LEAST_SUBJECTS

__all__ = ["Budget", "TrialCost", "budget_of", "data_bytes", "is_enough", "measure_steps"]

log = logging.getLogger(__name__)
_STEPS = 20  # half of them before points are trained, half with them
_WARM = 2  # steps that are not counted
NOMINAL = 10_000  # iterations of the trial's schedule
_PATIENCE = 120.0  # seconds after which a trial ends with the steps it has
ENOUGH = 4_000  # steps below which a smaller network learns more in the same time
MOST = 30_000  # steps; the paper's
_LEAST = 20  # steps
_SAFE = 0.95  # of the time given; the rest is for what was not measured
_VALIDATIONS = 5
_VALIDATED_SHARE = 0.3  # of the time given, at most
_JUDGED_SHARE, _JUDGED_MOST = 0.05, 10.0  # of the time given, and minutes, for the verdict's limits
_QUICK = 10_000  # iterations up to which a larger rate is better


@dataclass(frozen=True)
class TrialCost:
    """What a trial says of one size of network."""

    name: str
    seconds: float
    """A step, the mean of both halves of a training."""
    validated: float
    """Seconds a case of the validation split."""
    read: float
    """Seconds to read and prepare a case."""
    memory: int
    """Bytes of a step."""

    def summary(self) -> dict[str, Any]:
        """For the plan's file."""
        return {
            "size": self.name, "seconds a step": round(self.seconds, 4),
            "seconds a validated case": round(self.validated, 3),
            "seconds to read a case": round(self.read, 3),
            "memory of a step": gigabytes(self.memory),
        }  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """What the hours given are spent on."""

    iterations: int
    validations: int
    minutes: dict[str, float]
    """What -> minutes."""
    why: str

    @property
    def learning_rate(self) -> float:
        """Short trainings must learn faster."""
        return 1e-3 if self.iterations <= _QUICK else 5e-4


def measure_steps(
    name: str, config: RunConfig, samples: Samples, case: PreparedCase, world: World, *,
    num_classes: int, read: float,
) -> TrialCost | None:  # fmt: skip
    """Train a network of this size for twenty steps and segment a case with it.

    :param config: of :data:`NOMINAL` iterations.
    :param samples: of some cases.
    :param case: one that is validated.
    :param read: seconds to read and prepare one.
    :return: None where the memory is too small.
    :raises ConfigError: if the network cannot be built so.
    """
    torch.manual_seed(seed_for(config.seed, "weights"))
    network = config.network.build(num_classes=num_classes)
    network.check_size(config.preparation.window_size, what="'preparation.window'")
    try:
        with torch.random.fork_rng([]):
            stepper = Stepper(config, network, world)
            seconds = _timed_steps(stepper, config, samples, world)
        began = time.monotonic()
        validator = Validator(
            config.preparation.window_size, config.renderer.build(), config.windows,
            list(range(1, num_classes)), config.optimisation.precision,
        )  # fmt: skip
        validator.scores(network, [case], world=world)
        validated = time.monotonic() - began
    except (RuntimeError, MemoryError, ValueError) as error:
        if not is_out_of_memory(error):
            if isinstance(error, MorseError):
                raise
            raise ConfigError(f"The network cannot be trained so: {str(error)[:200]}.") from error
        log.info("%s: the memory is too small for it", name)
        return None
    memory = step_bytes(config, world.device, num_classes=num_classes)
    return TrialCost(name, seconds, validated, read, memory)


def _timed_steps(stepper: Stepper, config: RunConfig, samples: Samples, world: World) -> float:
    """Mean seconds of a step over both halves of the schedule."""
    options = config.optimisation
    batches = iter(DataLoader(samples, batch_size=options.batch_size, num_workers=0))
    halves = []
    start = time.monotonic()
    for first in (0, NOMINAL - _STEPS):
        times = []
        for step in range(first, first + _STEPS // 2 + _WARM):
            began = time.monotonic()
            stepper.step(step, islice(batches, options.accumulate))
            if world.device.type == "cuda":
                torch.cuda.synchronize(world.device)
            times.append(time.monotonic() - began)
            if len(times) > _WARM and time.monotonic() - start > _PATIENCE:
                break
        counted = times[_WARM:]
        halves.append(sum(counted) / len(counted))
    return sum(halves) / len(halves)


def is_enough(measured: TrialCost, *, hours: float) -> bool:
    """Whether the time given allows a network of this size the steps that it needs."""
    return hours * 3600 * _SAFE / measured.seconds >= ENOUGH


def budget_of(measured: TrialCost, *, hours: float, cases: int, validated: int) -> Budget:
    """Iterations and validations for the hours given.

    :param cases: that are read.
    :param validated: cases set aside.
    """
    total = hours * 3600
    reading = measured.read * cases
    once = measured.validated * validated
    count = _VALIDATIONS
    if once:
        count = max(1, min(_VALIDATIONS, int(_VALIDATED_SHARE * total / once) - 1))
    validating = once * (count + 1)  # once more for the card
    judging = 0.0 if validated < LEAST_SUBJECTS else min(60 * _JUDGED_MOST, _JUDGED_SHARE * total)
    left = total * _SAFE - reading - validating - judging
    allowed = int(left / measured.seconds)
    iterations = max(_LEAST, min(MOST, allowed))
    minutes = {
        "reading": reading / 60, "training": iterations * measured.seconds / 60,
        "validating": validating / 60, "verdict": judging / 60,
    }  # fmt: skip
    said = f"A step takes {measured.seconds:.2f} s here"
    if allowed < _LEAST:
        why = f"{said}: {hours:g} h are too short for a training; these are the least steps."
    elif allowed > MOST:
        why = f"{said}: {hours:g} h would allow {allowed:,}, but more than {MOST:,} help little."
    else:
        why = f"{said}: as many as {hours:g} h allow, beside reading, validation and verdict."
    return Budget(iterations, count, {k: round(v, 1) for k, v in minutes.items()}, why)


def validate_every(budget: Budget) -> int:
    """Steps between two validations."""
    return ceil(budget.iterations / budget.validations)


def data_bytes(fingerprint: Fingerprint, config: RunConfig) -> int:
    """What all cases take in memory on the network's grid: images, labels, labels as drawn."""
    total = 0.0
    wanted = config.preparation.spacing
    for case in fingerprint.cases:
        drawn = float(case.size[0]) * case.size[1] * case.size[2]
        voxels = drawn
        if wanted is not None and len(wanted) == 3:
            for mm, new in zip(case.spacing, wanted, strict=True):
                voxels *= mm / new
        total += (4 * config.network.in_channels + 1) * voxels + drawn
    return int(total)


def memory_there(world: World) -> int | None:
    """Bytes that a training could take."""
    free = free_gpu_memory(world.device)
    return available_memory() if free is None else free
