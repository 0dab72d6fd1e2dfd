"""A plan is made: cases found, names matched, measured, decided, tried, written."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from MorseCore.config import apply_overrides, decode
from MorseCore.errors import ConfigError, DeviceError
from MorseCore.metrics.subjects import read_subjects
from MorseCore.planning.doubts import doubts_about
from MorseCore.planning.layouts import Found, find_cases
from MorseCore.planning.measures import Fingerprint, measure_cases
from MorseCore.planning.names import Matching, match_names, parts_of
from MorseCore.planning.planfile import (
    FORMAT,
    Plan,
    PlanCase,
    PlanStructure,
    describe_parts,
    prepare_data,
    read_plan,
    run_config,
    with_overrides,
    write_plan,
)
from MorseCore.planning.rules import (
    Candidate,
    Draft,
    draft_training,
    split_subjects,
    thin_structures,
)
from MorseCore.planning.trial import (
    ENOUGH,
    Measured,
    budget_of,
    data_bytes,
    is_enough,
    measure_steps,
    memory_there,
    validate_every,
)
from MorseCore.system.devices import describe_device
from MorseCore.system.memory import gigabytes
from MorseCore.training.dataset import PreparedCase, open_dataset, prepare_case
from MorseCore.training.distributed import World, join_world

__all__ = ["PLAN", "Wishes", "make_plan", "plan_for_training", "split_wishes"]

log = logging.getLogger(__name__)
PLAN = "plan.json"
_SEED = 1337
_TRIED = 2  # cases of a trial

Bar = Callable[[Sequence[Any], str], Sequence[Any]]


@dataclass(frozen=True)
class Wishes:
    """What a person says of the data; everything else is a key of the training."""

    names: dict[str, str] = field(default_factory=dict)
    """A structure's name as written -> the name meant; empty: it is left out."""
    unannotated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Case -> structures that were not drawn there."""
    priority: tuple[str, ...] = ()
    """Of structures that overlap, the one that wins first."""
    subjects: str = ""
    """A table (CSV) with the columns ``case`` and ``subject``."""


def split_wishes(overrides: Sequence[str]) -> tuple[Wishes, list[str]]:
    """What is said of the data, and what of the training.

    :raises ConfigError: for a wish of another kind.
    """
    ours = [o for o in overrides if o.partition("=")[0].partition(".")[0] in Wishes.__annotations__]
    said: dict[str, Any] = {}
    for override in ours:  # a structure's name may hold dots
        section, dot, key = override.partition("=")[0].partition(".")
        value = apply_overrides({}, [f"value{override[len(section + dot + key) :]}"])["value"]
        if dot:
            said.setdefault(section, {})[key] = value
        else:
            said[section] = value
    return decode(Wishes, said, ""), [o for o in overrides if o not in ours]


def make_plan(
    data: Path, *, hours: float, name: str, overrides: Sequence[str] = (), bar: Bar
) -> Plan:
    """Look at a person's data and decide how to learn from them.

    :param name: of the model; empty: called like the data.
    :param overrides: ``key=value`` of the data (:class:`Wishes`) or of the training.
    :param bar: shows how far it is: a list and what is done with it.
    :raises DatasetError: if the data cannot be learned from.
    :raises ConfigError: for a faulty override.
    """
    if not hours > 0:
        raise ConfigError(f"'--hours' must be above 0; found {hours:g}.")
    wishes, overrides = split_wishes(overrides)
    found = _with_subjects(find_cases(data), wishes)
    parts = {case.name: parts_of(case) for case in bar(found.cases, "names")}
    matching = match_names(found.cases, parts, names=wishes.names, unannotated=wishes.unannotated)
    fingerprint = measure_cases(
        found.cases, matching, modality=found.modality, shown=lambda cases: bar(cases, "measuring")
    )
    device = next((o[7:] for o in reversed(overrides) if o.startswith("device=")), "auto")
    world = join_world(device)
    draft, candidates = draft_training(
        found, matching, fingerprint, name=name or model_name(found.name),
        on_gpu=world.device.type == "cuda",
    )  # fmt: skip
    draft.put("device", device)
    draft.put("seed", _SEED)
    folds, why = split_subjects(found.cases, matching, fingerprint, seed=_SEED)
    draft.put("data.fold", 0, why)
    # Whatever decides the time is put there below.
    draft.put("optimisation.iterations", 1000)
    draft.put("validation.every", 1000)
    plan = Plan(
        FORMAT, str(data), found.layout, found.licence, hours, describe_device(world.device), {},
        tuple(doubts_about(found.cases, matching, fingerprint)), (*found.notes, *matching.notes),
        draft.axes, draft.training, draft.why, (), _structures(matching),
        _priority(matching, fingerprint, wishes), fingerprint.summary(),
        tuple(
            PlanCase(
                c.name, str(c.image.resolve()), tuple(str(p.path.resolve()) for p in c.labels),
                {s.name: describe_parts(matching.parts[c.name][s.value])
                 for s in matching.structures if s.value in matching.parts[c.name]},
                c.subject, folds[c.name],
            ) for c in found.cases
        ),
    )  # fmt: skip
    plan = with_overrides(plan, overrides)
    return _within_budget(plan, candidates, overrides, fingerprint, world, bar)


def plan_for_training(
    data: Path, *, hours: float, overrides: Sequence[str], bar: Bar
) -> tuple[Plan, Path]:
    """The plan of a training on a person's data, and the folder of its run, where it is written.

    A plan that is there already is taken, with the overrides: the training goes on.

    :raises ConfigError: if the run's folder holds a training on other data.
    """
    said = apply_overrides({}, split_wishes(overrides)[1])
    name = str(said.get("name") or model_name(find_cases(data).name))
    folder = Path(str(said.get("output", "runs"))) / name
    if not (folder / PLAN).is_file():
        plan = make_plan(data, hours=hours, name=name, overrides=overrides, bar=bar)
        write_plan(folder / PLAN, plan)
        return plan, folder
    plan = read_plan(folder / PLAN)
    if Path(plan.data).resolve() != data.resolve():
        raise ConfigError(
            f"'{folder}' holds a training on '{plan.data}'; name=ANOTHER gives this one a folder "
            "of its own."
        )
    log.info("going on by %s", folder / PLAN)
    return with_overrides(plan, split_wishes(overrides)[1]), folder


def model_name(text: str) -> str:
    """A name that a folder can have."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text).strip("-").lower()
    return kept or "model"


def _with_subjects(found: Found, wishes: Wishes) -> Found:
    if not wishes.subjects:
        return found
    subjects = read_subjects(Path(wishes.subjects))
    cases = tuple(replace(c, subject=subjects.get(c.name, c.subject)) for c in found.cases)
    return replace(found, cases=cases)


def _structures(matching: Matching) -> tuple[PlanStructure, ...]:
    return tuple(
        PlanStructure(s.value, s.name, {w: len(c) for w, c in s.spellings.items()},
                      tuple(s.unannotated))
        for s in matching.structures
    )  # fmt: skip


def _priority(matching: Matching, fingerprint: Fingerprint, wishes: Wishes) -> tuple[str, ...]:
    """Of the structures that overlap, the smaller first, unless the person says otherwise."""
    meeting = {name for case in fingerprint.cases for pair in case.overlaps for name in pair}
    known = {s.name for s in matching.structures}
    for name in wishes.priority:
        if name not in known:
            raise ConfigError(
                f"'priority' speaks of '{name}', which is no structure; there is "
                f"{', '.join(sorted(known))}."
            )
    sizes = {n: sum(m.ml for m in fingerprint.of(n)) for n in meeting}
    rest = sorted(meeting - set(wishes.priority), key=lambda n: sizes[n])
    return (*wishes.priority, *rest)


def _within_budget(
    plan: Plan, candidates: Sequence[Candidate], overrides: Sequence[str],
    fingerprint: Fingerprint, world: World, bar: Bar,
) -> Plan:  # fmt: skip
    """The largest network that the hours allow enough steps, with its steps."""
    fixed = {o.partition("=")[0] for o in overrides}
    free = [c for c in candidates if not any(_touches(k, fixed) for k in c.changes)]
    tried = free or [Candidate("as the person said", {})]
    measured: list[tuple[Candidate, Measured]] = []
    with TemporaryDirectory() as folder:
        for candidate in bar(tried, "trial"):
            changed = _changed(plan, candidate.changes)
            result = _try(candidate.name, changed, Path(folder), fingerprint, world)
            if result is None:
                break
            measured.append((candidate, result))
            if not is_enough(result, hours=plan.hours):
                break
    if not measured:
        raise DeviceError(
            "The memory is too small even for the smallest network; override preparation.window "
            "by a smaller one."
        )
    candidate, result = _choose(measured, hours=plan.hours)
    validated = sum(case.fold == plan.training["data"]["fold"] for case in plan.cases)
    budget = budget_of(result, hours=plan.hours, cases=len(plan.cases), validated=validated)
    names = ", ".join(f"{m.name} {m.seconds:.2f} s" for _, m in measured)
    why_size = f"Of the sizes tried (a step: {names}), '{candidate.name}' is the " + (
        f"largest that gets {ENOUGH:,} steps in the time given."
        if is_enough(result, hours=plan.hours)
        else f"cheapest; none gets {ENOUGH:,} steps in the time given."
    )
    draft = Draft(plan.axes, _changed(plan, candidate.changes).training, dict(plan.why))
    for key in candidate.changes:
        draft.why[key] = why_size
    draft.put("optimisation.iterations", budget.iterations, budget.why)
    draft.put("optimisation.learning_rate", budget.learning_rate,
              "A short training must learn faster." if budget.learning_rate > 5e-4
              else "The rate of the papers' trainings of this length.")  # fmt: skip
    times = "once" if budget.validations == 1 else f"{budget.validations} times"
    draft.put("validation.every", validate_every(budget),
              f"Validated {times} on {validated} cases, and once more for the card."
              )  # fmt: skip
    done = replace(
        plan, training=draft.training, why=draft.why,
        trial=tuple(m.summary() for _, m in measured),
    )  # fmt: skip
    return _with_expectations(
        with_overrides(done, overrides), result, budget.minutes, fingerprint, world
    )


def _touches(key: str, fixed: set[str]) -> bool:
    return any(key == f or key.startswith(f"{f}.") or f.startswith(f"{key}.") for f in fixed)


def _changed(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    draft = Draft(plan.axes, apply_overrides(plan.training, []))
    for key, value in changes.items():
        draft.put(key, value)
    return replace(plan, training=draft.training)


def _choose(
    measured: Sequence[tuple[Candidate, Measured]], *, hours: float
) -> tuple[Candidate, Measured]:
    """The largest with enough steps; a coarser spacing only where nothing else has them."""
    fitting = [pair for pair in measured if is_enough(pair[1], hours=hours)]
    return fitting[-1] if fitting else measured[0]


def _try(
    name: str, plan: Plan, folder: Path, fingerprint: Fingerprint, world: World
) -> Measured | None:
    """A trial with two cases of middling size."""
    order = sorted(fingerprint.cases, key=lambda c: c.size[0] * c.size[1] * c.size[2])
    middle = max(0, len(order) // 2 - 1)
    names = [case.name for case in order[middle : middle + _TRIED]]
    few = replace(plan, cases=tuple(replace(c, fold=None) for c in plan.cases if c.name in names))
    began = time.monotonic()
    prepare_data(few, folder)
    config = replace(run_config(few, folder), device=plan.training["device"])
    data = open_dataset(folder / "dataset.json", folder / "splits.json")
    cases: list[PreparedCase] = [
        prepare_case(case, config.preparation, num_classes=data.num_classes,
                     accepted=config.acceptance())
        for case in data.splits["train"]
    ]  # fmt: skip
    read = (time.monotonic() - began) / len(cases)
    return measure_steps(name, config, cases, world, num_classes=data.num_classes, read=read)


def _with_expectations(
    plan: Plan, result: Measured, minutes: Mapping[str, float], fingerprint: Fingerprint,
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
    if there is not None and needed > there:
        warnings.append(
            f"The training needs {gigabytes(needed)} of memory and {gigabytes(there)} is there: "
            "choose a coarser preparation.spacing, a smaller preparation.window or fewer cases."
        )
    if minutes["reading"] + minutes["training"] + minutes["validating"] > 60 * plan.hours * 1.05:
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
