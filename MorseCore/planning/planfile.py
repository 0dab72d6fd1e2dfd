"""The plan: one readable file with every decision and its reason, and what a training makes of it.

Its axes are named: ``{"R": 1.25, "A": 1.25, "S": 7.7}``. A plain list is refused, since nobody can
see in which order it is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MorseCore.config import apply_overrides, decode, encode, read_json
from MorseCore.errors import ConfigError
from MorseCore.images.channels import read_channel
from MorseCore.images.imageio import write_labels
from MorseCore.planning.layouts import FoundCase, LabelFile
from MorseCore.planning.names import Part
from MorseCore.planning.reading import read_case_labels
from MorseCore.system.files import output_error, prepare_output_directory, write_json, write_text
from MorseCore.training.config import RunConfig

__all__ = [
    "FORMAT",
    "Plan",
    "PlanCase",
    "PlanStructure",
    "describe_parts",
    "is_of_labels",
    "is_plan",
    "prepare_data",
    "read_plan",
    "run_config",
    "with_overrides",
    "write_plan",
]

FORMAT = 1
_NAMED = ("preparation.spacing", "preparation.window")
_NAMED_LIST = "augmentation.mirror_axes"
_PART = re.compile(r"file (\d+)(?: (mask)| layer (\d+) value (\d+))")


@dataclass(frozen=True)
class PlanStructure:
    """A foreground class."""

    value: int
    name: str
    written: dict[str, int] = field(default_factory=dict)
    """As files write it -> number of cases."""
    unannotated: tuple[str, ...] = ()
    """The cases that say nothing about it."""


@dataclass(frozen=True)
class PlanCase:
    """A case, and where its structures are."""

    name: str
    image: str
    labels: tuple[str, ...]
    """Label files."""
    where: dict[str, str]
    """Structure -> its segments, as ``file 0 layer 0 value 1``."""
    subject: str
    fold: int | None = None
    """The fold that validates it; null: it always trains."""
    others: tuple[str, ...] = ()
    """Its further channels."""


@dataclass(frozen=True)
class Plan:
    """What a training will do, and why."""

    plan: int
    """Format of the file."""
    data: str
    layout: str
    licence: str
    hours: float
    """What the person gave."""
    asked: tuple[str, ...]
    """What the person said of the data, as ``key=value``."""
    device: str
    """Where the trial was made."""
    expected: dict[str, Any]
    """Minutes by the trial, and memory."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    axes: tuple[str, ...]
    """Of the network, in the order of its lists."""
    training: dict[str, Any]
    """The configuration of the training; every key can be replaced by key=value."""
    why: dict[str, str]
    """Key of the training -> the reason for its value."""
    trial: tuple[dict[str, Any], ...]
    structures: tuple[PlanStructure, ...]
    priority: tuple[str, ...]
    """Structures, where some overlap: the first that is there wins."""
    fingerprint: dict[str, Any]
    cases: tuple[PlanCase, ...]
    channels: tuple[str, ...] = ()
    """Names of the images of a case, in the order of the network, where there are several."""

    def __post_init__(self) -> None:
        if self.plan != FORMAT:
            raise ConfigError(
                f"'plan' is {self.plan}; this release reads plans of format {FORMAT}."
            )


def is_plan(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is meant as a plan."""
    return "plan" in data and "training" in data


def is_of_labels(plan: Plan) -> bool:
    """Whether every image is generated from a label map."""
    return bool(plan.training.get("data", {}).get("source") == "generated")


def read_plan(path: Path) -> Plan:
    """:raises ConfigError: if the file is no plan."""
    return decode(Plan, read_json(path), "")


def write_plan(path: Path, plan: Plan) -> None:
    """:raises OutputError: if the file cannot be written."""
    prepare_output_directory(path.parent)
    write_json(path, encode(plan))


def with_overrides(plan: Plan, overrides: Sequence[str]) -> Plan:
    """The plan with ``key=value`` in its training, whose reason is then the person.

    :raises ConfigError: for what no training has.
    """
    data = encode(plan)
    training = apply_overrides(data["training"], overrides)
    keys = [override.partition("=")[0] for override in overrides]
    why = {k: v for k, v in plan.why.items() if not any(k.startswith(f"{key}.") for key in keys)}
    data |= {"training": training, "why": why | dict.fromkeys(keys, "As the person said.")}
    return decode(Plan, data, "")


def run_config(plan: Plan, prepared: Path) -> RunConfig:
    """The configuration of a plan, its axes in the order of a training.

    :param prepared: folder of :func:`prepare_data`.
    :raises ConfigError: for a key or value that no training has, and for axes without names.
    """
    training = json.loads(json.dumps(plan.training))
    for key in _NAMED:
        section, name = key.split(".")
        value = training.get(section, {}).get(name)
        if value is not None:
            training[section][name] = _ordered(key, value, plan.axes)
    channels = training.get("preparation", {}).get("channels")
    if channels:
        named = _ordered("preparation.channels", channels, plan.channels, of="channel")
        training["preparation"]["channels"] = named
    augmentation = training.get("augmentation", {})
    if "mirror_axes" in augmentation:
        augmentation["mirror_axes"] = _numbered(augmentation["mirror_axes"], plan.axes)
    data = training.setdefault("data", {})
    data["labels" if is_of_labels(plan) else "dataset"] = (prepared / "dataset.json").as_posix()
    data["split"] = (prepared / "splits.json").as_posix()
    return decode(RunConfig, training, "")


def _ordered(key: str, value: Any, axes: Sequence[str], *, of: str = "axis") -> list[Any]:
    shown = json.dumps(dict.fromkeys(axes, "…"), ensure_ascii=False)
    if isinstance(value, list) and len(value) == len(axes):
        shown = json.dumps(dict(zip(axes, value, strict=True)))
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"'{key}' is {json.dumps(value)}, and nobody can see which {of} is which: name them, "
            f"{key}='{shown}'."
        )
    if set(value) != set(axes):
        raise ConfigError(
            f"'{key}' names the {'axes' if of == 'axis' else 'channels'} {', '.join(value)}; "
            f"this plan has {', '.join(axes)}."
        )
    return [value[axis] for axis in axes]


def _numbered(value: Any, axes: Sequence[str]) -> list[int]:
    """Names of axes as their numbers in arrays, where the last axis comes first."""
    if not isinstance(value, list) or not all(name in axes for name in value):
        raise ConfigError(
            f"'{_NAMED_LIST}' is {json.dumps(value)}; it is a list of axes by name, of "
            f"{', '.join(axes)}."
        )
    return sorted(len(axes) - 1 - list(axes).index(name) for name in value)


def prepare_data(plan: Plan, folder: Path, *, shown: Any = iter) -> None:
    """Write the data set of a plan as a training reads it: labels by number, split, subjects.

    A label map that holds just these numbers on the image's grid stays where it is.

    :param shown: a bar around the cases.
    :raises DatasetError: if a label file cannot be read any more.
    :raises OutputError: if the folder cannot be written to.
    """
    values = {s.name: s.value for s in plan.structures}
    priority = [values[name] for name in plan.priority]
    prepare_output_directory(folder / "labels")
    entries = []
    for case in shown(plan.cases):
        entry: dict[str, Any] = {
            "image": [case.image, *case.others] if case.others else case.image,
            "label": _prepare_label(case, folder, values, priority)
        }  # fmt: skip
        unannotated = [s.name for s in plan.structures if case.name in s.unannotated]
        entries.append(entry | ({"unannotated": unannotated} if unannotated else {}))
        entries[-1]["name"] = case.name
    numbers = {case.fold for case in plan.cases if case.fold is not None}
    folds: list[int | None] = [*sorted(numbers)] or [None]
    splits = [
        {"train": [c.name for c in plan.cases if fold is None or c.fold != fold],
         "val": [c.name for c in plan.cases if fold is not None and c.fold == fold]}
        for fold in folds
    ]  # fmt: skip
    write_json(folder / "splits.json", splits)
    rows = [f'"{case.name}","{case.subject}"' for case in plan.cases]
    write_text(folder / "cases.csv", "\n".join(["case,subject", *rows, ""]))
    write_json(folder / "dataset.json", {
        "name": plan.training["card"]["data"],
        "licence": plan.licence or "not stated",
        "labels": {"0": "background", **{str(s.value): s.name for s in plan.structures}},
        **({"channel_names": dict(enumerate(plan.channels))} if plan.channels else {}),
        "training": entries,
    })  # fmt: skip


def _prepare_label(
    case: PlanCase, folder: Path, values: Mapping[str, int], priority: Sequence[int]
) -> str:
    found = FoundCase(case.name, Path(case.image), tuple(LabelFile(Path(p)) for p in case.labels),
                      others=tuple(map(Path, case.others)))  # fmt: skip
    image = read_channel(found.images, 0)
    parts = {values[name]: _parts(name, text) for name, text in case.where.items()}
    labels = read_case_labels(found, image, parts, priority=priority)
    if labels.is_as_filed:
        return case.labels[0]
    path = folder / "labels" / f"{case.name}.nii.gz"
    try:
        write_labels(path, labels.labels, image.geometry)
    except OSError as error:
        raise output_error(path, error) from error
    return path.resolve().as_posix()


def _parts(name: str, text: str) -> tuple[Part, ...]:
    matches = [_PART.fullmatch(piece) for piece in text.split("; ")]
    if not all(matches):
        raise ConfigError(
            f"'where' of '{name}' must be like 'file 0 layer 0 value 1'; found '{text[:80]}'."
        )
    return tuple(
        Part(int(m.group(1)), int(m.group(4) or 1), name, int(m.group(3) or 0),
             is_mask=bool(m.group(2)))
        for m in matches if m
    )  # fmt: skip


def describe_parts(parts: Sequence[Part]) -> str:
    """Where segments are, as a plan's file says it."""
    return "; ".join(
        f"file {p.file} mask" if p.is_mask else f"file {p.file} layer {p.layer} value {p.value}"
        for p in parts
    )
