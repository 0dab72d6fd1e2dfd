"""A plan is made: cases found, names matched, measured, decided, tried, written."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from MorseCore.config import apply_overrides, decode
from MorseCore.errors import ConfigError
from MorseCore.metrics.subjects import read_subjects
from MorseCore.planning.anycontrast import generate_images
from MorseCore.planning.doubts import doubts_about
from MorseCore.planning.fitting import Bar, fit_to_hours
from MorseCore.planning.layouts import FoundCase, FoundData, find_cases
from MorseCore.planning.measures import Fingerprint, measure_cases
from MorseCore.planning.names import Matching, match_names, parts_of
from MorseCore.planning.planfile import (
    FORMAT,
    Plan,
    PlanCase,
    PlanStructure,
    describe_parts,
    read_plan,
    with_overrides,
)
from MorseCore.planning.rules import (
    Draft,
    draft_training,
    split_subjects,
)
from MorseCore.planning.starting import start_from
from MorseCore.system.devices import describe_device
from MorseCore.training.distributed import World, join_world

__all__ = ["PLAN", "Wishes", "make_plan", "plan_for_training", "read_wishes", "split_wishes"]

log = logging.getLogger(__name__)
PLAN = "plan.json"
_SEED = 1337


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
    any_contrast: bool = False
    """Images are generated from the label maps, beside the scans or instead of them."""


def split_wishes(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is said of the data, and what of the training."""
    ours = [o for o in overrides if o.partition("=")[0].partition(".")[0] in Wishes.__annotations__]
    return ours, [override for override in overrides if override not in ours]


def read_wishes(said: Sequence[str]) -> Wishes:
    """:raises ConfigError: for a wish of another kind."""
    data: dict[str, Any] = {}
    for override in said:  # a structure's name may hold dots
        section, dot, key = override.partition("=")[0].partition(".")
        value = apply_overrides({}, [f"value{override[len(section + dot + key) :]}"])["value"]
        if dot:
            data.setdefault(section, {})[key] = value
        else:
            data[section] = value
    return decode(Wishes, data, "")


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
    asked, overrides = split_wishes(overrides)
    wishes = read_wishes(asked)
    found = find_cases(data, may_lack_images=wishes.any_contrast)
    if wishes.any_contrast and found.channels:
        raise ConfigError(
            f"A generated image is one, and a case has {len(found.channels)} "
            f"({', '.join(found.channels)}): leave '--any-contrast' out."
        )
    found = _with_subjects(found, wishes)
    parts = {case.name: parts_of(case) for case in bar(found.cases, "names")}
    matching = match_names(found.cases, parts, names=wishes.names, unannotated=wishes.unannotated)
    fingerprint = measure_cases(
        found.cases, matching, modality=found.modality if found.has_images else "any",
        channels=found.channels, shown=lambda cases: bar(cases, "measuring"),
    )  # fmt: skip
    if not found.has_images:
        found, fingerprint = _with_something_drawn(found, fingerprint)
    device = _said(overrides, "device", "auto")
    world = join_world(device)
    draft, candidates = draft_training(
        found, matching, fingerprint, name=name or model_name(found.name),
        on_gpu=world.device.type == "cuda", in_volumes=wishes.any_contrast,
    )  # fmt: skip
    if wishes.any_contrast:
        generate_images(draft, matching, fingerprint, has_images=found.has_images)
    if start := _said(overrides, "initialise", ""):
        candidates = start_from(draft, start, fingerprint)
    draft.put("device", device)
    draft.put("seed", _SEED)
    plan = _written(data, hours, asked, wishes, found, matching, fingerprint, draft, world)
    return fit_to_hours(
        with_overrides(plan, overrides), candidates, overrides, fingerprint, world, bar
    )


def _written(
    data: Path, hours: float, asked: Sequence[str], wishes: Wishes, found: FoundData,
    matching: Matching, fingerprint: Fingerprint, draft: Draft, world: World,
) -> Plan:  # fmt: skip
    """The draft as a plan, with split and doubts; what time decides is still open."""
    folds, why = split_subjects(found.cases, matching, fingerprint, seed=_SEED)
    draft.put("data.fold", 0, why)
    return Plan(
        FORMAT, str(data), found.layout, found.licence, hours, tuple(asked),
        describe_device(world.device), {},
        tuple(doubts_about(found.cases, matching, fingerprint)), (*found.notes, *matching.notes),
        draft.axes, draft.training, draft.why, (), _structures(matching),
        _priority(matching, fingerprint, wishes), fingerprint.summary(),
        tuple(_planned(case, matching, folds[case.name]) for case in found.cases), found.channels,
    )  # fmt: skip


def _said(overrides: Sequence[str], key: str, default: str) -> str:
    """What the last override says of a key that is a word."""
    found = [o.removeprefix(f"{key}=") for o in overrides if o.startswith(f"{key}=")]
    return found[-1] if found else default


def _planned(case: FoundCase, matching: Matching, fold: int | None) -> PlanCase:
    where = {
        s.name: describe_parts(matching.parts[case.name][s.value])
        for s in matching.structures if s.value in matching.parts[case.name]
    }  # fmt: skip
    labels = tuple(str(label.path.resolve()) for label in case.labels)
    first, *others = (str(path.resolve()) for path in case.images)
    return PlanCase(case.name, first, labels, where, case.subject, fold, tuple(others))


def plan_for_training(
    data: Path, *, hours: float, overrides: Sequence[str], bar: Bar
) -> tuple[Plan, Path]:
    """The plan of a training on a person's data, and the folder of its run, where it is to lie.

    A plan that is there already is taken, with the overrides: the training goes on.

    :raises ConfigError: if the run's folder holds a training on other data.
    """
    asked, changes = split_wishes(overrides)
    said = apply_overrides({}, changes)
    may_lack = read_wishes(asked).any_contrast
    name = str(said.get("name") or model_name(find_cases(data, may_lack_images=may_lack).name))
    folder = Path(str(said.get("output", "runs"))) / name
    if not (folder / PLAN).is_file():
        return make_plan(data, hours=hours, name=name, overrides=overrides, bar=bar), folder
    plan = read_plan(folder / PLAN)
    if Path(plan.data).resolve() != data.resolve() or plan.asked != tuple(asked):
        said_then = f" ({', '.join(plan.asked)})" if plan.asked else ""
        raise ConfigError(
            f"'{folder}' holds a training on '{plan.data}'{said_then}; name=ANOTHER gives this one "
            "a folder of its own."
        )
    log.info("going on by %s, which was made for %g h", folder / PLAN, plan.hours)
    return with_overrides(plan, changes), folder


def model_name(text: str) -> str:
    """A name that a folder can have."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text).strip("-").lower()
    return kept or "model"


def _with_subjects(found: FoundData, wishes: Wishes) -> FoundData:
    if not wishes.subjects:
        return found
    subjects = read_subjects(Path(wishes.subjects))
    cases = tuple(replace(c, subject=subjects.get(c.name, c.subject)) for c in found.cases)
    return replace(found, cases=cases)


def _with_something_drawn(
    found: FoundData, fingerprint: Fingerprint
) -> tuple[FoundData, Fingerprint]:
    """Without the label maps from which no image can be generated."""
    drawn = tuple(case for case in fingerprint.cases if case.structures)
    names = {case.name for case in drawn}
    empty = [case.name for case in found.cases if case.name not in names]
    if not empty:
        return found, fingerprint
    few = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
    note = f"Left out, since nothing is drawn in them: {few}."
    cases = tuple(case for case in found.cases if case.name in names)
    return (
        replace(found, cases=cases, notes=(*found.notes, note)),
        replace(fingerprint, cases=drawn),
    )


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
