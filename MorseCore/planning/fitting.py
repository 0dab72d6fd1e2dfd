"""The largest network that the hours allow enough steps, with the time and memory it takes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from MorseCore.config import apply_overrides
from MorseCore.errors import DeviceError
from MorseCore.planning.measures import Fingerprint
from MorseCore.planning.planfile import (
    Plan,
    is_of_labels,
    prepare_data,
    run_config,
    with_overrides,
)
from MorseCore.planning.rules import Candidate, Draft, thin_structures
from MorseCore.planning.trial import (
    ENOUGH,
    NOMINAL,
    Budget,
    TrialCost,
    budget_of,
    data_bytes,
    is_enough,
    measure_steps,
    memory_there,
    validate_every,
)
from MorseCore.system.memory import gigabytes
from MorseCore.training.dataset import PreparedCase, open_dataset, prepare_case
from MorseCore.training.distributed import World
from MorseCore.training.sources import GeneratedSource, training_samples

__all__ = ["Bar", "few_steps", "fit_to_hours"]

_TRIED = 2  # cases of a trial
_TRIAL_STEPS = 1000  # of the configuration while the hours have not decided
_LATE = 1.05  # times the hours given

Bar = Callable[[Sequence[Any], str], Sequence[Any]]
"""Shows how far it is: a list, and what is done with it."""

Tried = list[tuple[Candidate, TrialCost]]


def fit_to_hours(
    plan: Plan, candidates: Sequence[Candidate], overrides: Sequence[str],
    fingerprint: Fingerprint, world: World, bar: Bar,
) -> Plan:  # fmt: skip
    """The plan with the largest network that the hours allow enough steps, and its steps.

    :param candidates: the cheapest first; those that contradict ``overrides`` are not tried.
    :raises DeviceError: if the memory is too small for any.
    """
    start = _changed(plan, {"optimisation.iterations": _TRIAL_STEPS,
                            "validation.every": _TRIAL_STEPS})  # fmt: skip
    start = with_overrides(start, overrides)
    tried = _measure_all(start, candidates, overrides, fingerprint, world, bar)
    candidate, result = _choose(tried, hours=plan.hours)
    validated, what = _validated(start)
    budget = budget_of(result, hours=plan.hours, cases=len(plan.cases), validated=validated)
    decided = _decided(start, tried, candidate, budget, f"{validated} {what}")
    done = replace(decided, trial=tuple(measured.summary() for _, measured in tried))
    return _with_expectations(
        with_overrides(done, overrides), result, budget.minutes, fingerprint, world
    )


def _measure_all(
    plan: Plan, candidates: Sequence[Candidate], overrides: Sequence[str],
    fingerprint: Fingerprint, world: World, bar: Bar,
) -> Tried:  # fmt: skip
    """Trials from the cheapest on, until one is too slow or too large."""
    fixed = {override.partition("=")[0] for override in overrides}
    free = [c for c in candidates if not any(_touches(k, fixed) for k in c.changes)]
    tried: Tried = []
    with TemporaryDirectory() as folder:
        for candidate in bar(free or [Candidate("as the person said", {})], "trial"):
            changed = _changed(plan, candidate.changes)
            result = _try(candidate.name, changed, Path(folder), fingerprint, world)
            if result is None:
                break
            tried.append((candidate, result))
            if not is_enough(result, hours=plan.hours):
                break
    if not tried:
        raise DeviceError(
            "The memory is too small even for the smallest network; override preparation.window "
            "by a smaller one."
        )
    return tried


def _validated(plan: Plan) -> tuple[int, str]:
    """How many images are validated, and what they are."""
    count = sum(case.fold == plan.training["data"]["fold"] for case in plan.cases)
    if not count or not is_of_labels(plan):
        return count, "cases"
    return run_config(plan, Path("data")).generation.validation_images, "generated images"


def _decided(
    plan: Plan, tried: Tried, candidate: Candidate, budget: Budget, validated: str
) -> Plan:
    """The plan with what time decides, and why."""
    draft = Draft(plan.axes, _changed(plan, candidate.changes).training, dict(plan.why))
    names = ", ".join(f"{measured.name} {measured.seconds:.2f} s" for _, measured in tried)
    is_fast = any(c is candidate and is_enough(m, hours=plan.hours) for c, m in tried)
    rank = f"largest that gets {ENOUGH:,}" if is_fast else f"cheapest; none gets {ENOUGH:,}"
    for key in candidate.changes:
        draft.why[key] = (
            f"Of the sizes tried (a step: {names}), '{candidate.name}' is the {rank} steps in the "
            "time given."
        )
    draft.put("optimisation.iterations", budget.iterations, budget.why)
    draft.put("optimisation.learning_rate", budget.learning_rate,
              "A short training must learn faster." if budget.learning_rate > 5e-4
              else "The rate of the papers' trainings of this length.")  # fmt: skip
    times = "once" if budget.validations == 1 else f"{budget.validations} times"
    draft.put("validation.every", validate_every(budget),
              f"Validated {times} on {validated}, and once more for the card."
              )  # fmt: skip
    draft.put("validation.verdict_minutes", budget.minutes["verdict"],
              "For the limits of its verdict, fitted on these cases and spoilt copies of them."
              if budget.minutes["verdict"] else
              "Too few cases or too little time to fit the limits of its verdict: volumes alone."
              )  # fmt: skip
    return replace(plan, training=draft.training, why=draft.why)


def few_steps(steps: int, seconds: float) -> list[str]:
    """A sentence about a training that is too short to learn much."""
    if steps >= ENOUGH:
        return []
    return [
        f"{steps:,} steps are few and will teach little; {ENOUGH:,} take about "
        f"{ENOUGH * seconds / 3600:.1f} h on this machine."
    ]


def _touches(key: str, fixed: set[str]) -> bool:
    return any(key == f or key.startswith(f"{f}.") or f.startswith(f"{key}.") for f in fixed)


def _changed(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    draft = Draft(plan.axes, apply_overrides(plan.training, []))
    for key, value in changes.items():
        draft.put(key, value)
    return replace(plan, training=draft.training)


def _choose(
    measured: Sequence[tuple[Candidate, TrialCost]], *, hours: float
) -> tuple[Candidate, TrialCost]:
    """The largest with enough steps; a coarser spacing only where nothing else has them."""
    fitting = [pair for pair in measured if is_enough(pair[1], hours=hours)]
    return fitting[-1] if fitting else measured[0]


def _try(
    name: str, plan: Plan, folder: Path, fingerprint: Fingerprint, world: World
) -> TrialCost | None:
    """A trial with two cases of middling size."""
    partial = {name for one in plan.structures for name in one.unannotated}
    whole = [case for case in fingerprint.cases if case.name not in partial] or fingerprint.cases
    order = sorted(whole, key=lambda c: c.size[0] * c.size[1] * c.size[2])
    middle = max(0, len(order) // 2 - 1)
    names = [case.name for case in order[middle : middle + _TRIED]]
    few = replace(plan, cases=tuple(replace(c, fold=None) for c in plan.cases if c.name in names))
    began = time.monotonic()
    prepare_data(few, folder)
    config = run_config(few, folder)
    options = replace(config.optimisation, iterations=NOMINAL)
    config = replace(config, device=plan.training["device"], optimisation=options)
    data = open_dataset(folder / "dataset.json", folder / "splits.json")
    cases: list[PreparedCase] = [
        prepare_case(case, config.preparation, num_classes=data.num_classes,
                     accepted=config.acceptance())
        for case in data.splits["train"]
    ]  # fmt: skip
    case = cases[0]
    if is_of_labels(plan):
        samples = GeneratedSource(config, world).samples()
        window = tuple(slice(0, n) for n in config.preparation.window_size)
        case = replace(case, image=case.image[window], labels=case.labels[window], drawn=None)
    else:
        samples = training_samples(config, data, cases, world)
    read = (time.monotonic() - began) / len(cases)
    return measure_steps(
        name, config, samples, case, world, num_classes=data.num_classes, read=read
    )


def _with_expectations(
    plan: Plan, result: TrialCost, minutes: Mapping[str, float], fingerprint: Fingerprint,
    world: World,
) -> Plan:  # fmt: skip
    """The plan with its time and memory, and what they give reason to warn about."""
    config = run_config(plan, Path("data"))
    steps = plan.training["optimisation"]["iterations"]
    minutes = {**minutes, "training": round(steps * result.seconds / 60, 1)}
    data = data_bytes(fingerprint, config)
    is_cpu = world.device.type == "cpu"
    needed = result.memory + (data if is_cpu else 0)
    there = memory_there(world)
    warnings = [
        *plan.warnings,
        *thin_structures(fingerprint, plan.training["preparation"]["spacing"]),
    ]
    warnings += few_steps(steps, result.seconds)
    if there is not None and needed > there:
        warnings.append(
            f"The training needs {gigabytes(needed)} of memory and {gigabytes(there)} is there: "
            "choose a coarser preparation.spacing, a smaller preparation.window or fewer cases."
        )
    if sum(minutes.values()) > 60 * plan.hours * _LATE:
        warnings.append(
            f"It will take longer than the {plan.hours:g} h given: "
            f"{sum(minutes.values()) / 60:.1f} h; the iterations were given, or are the least."
        )
    expected = {
        "minutes": minutes | {"in all": round(sum(minutes.values()), 1)},
        "memory": gigabytes(needed),
        "memory there": "not known" if there is None else gigabytes(there),
    }
    return replace(plan, expected=expected, warnings=tuple(warnings))
