"""The results in an output folder, read once for all tables and pages."""

import csv
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile  # unlike Path's, it says no to what no path can be
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.config import read_json
from MorseCore.errors import MorseError
from MorseCore.images.bids import bids_entities
from MorseCore.system.files import atomic_path, prepare_output_directory, printable

__all__ = [
    "PARTICIPANTS",
    "CohortCase",
    "fences",
    "is_whole_report",
    "keep_participants",
    "participants",
    "read_cohort",
    "split_side",
]

PARTICIPANTS = "participants.tsv"
_ABOUT = ("age", "sex", "group")
_FEWEST = 10  # cases from which a cohort has outliers of its own, as in fsqc
_WHISKER = 1.5  # interquartile ranges
_NUMBER = (int, float)
_ANY = object()  # stands for each key of an object
_SHAPE: Mapping[str, Any] = {
    "model": {"name": str, "sha256": str},
    "input": {"spacing_mm_ijk": [_NUMBER], "shape_kji": [_NUMBER], "path": str,
              "further_channels": [str]},
    "request": {
        "input": [[str]], "options": {"accept": [str]}, "series": str, "volume": int,
    },
    "versions": {},
    "parameters": {},
    "points": {},
    "brain": {},
    "seconds": {_ANY: _NUMBER},
    "attention": _NUMBER,
    "peak_memory_mb": _NUMBER,
    "warnings": [str],
    "structures": [{
        "name": str, "coarse_ml": _NUMBER, "refined_ml": _NUMBER, "change_ml": _NUMBER,
        "shift_p95_mm": _NUMBER, "coarse_probability_ml": _NUMBER,
        "refined_probability_ml": _NUMBER,
    }],
    "labels": [{"name": str, "side": str, "freesurfer": _NUMBER, "color": [_NUMBER]}],
    "sides": [{"name": str}],
    "verdict": {"level": str, "reasons": [{"structure": str, "words": str}]},
}  # fmt: skip
"""What tables and pages read of a report."""
_NEEDED = {"model", "structures", "name", "refined_ml", "change_ml", "shift_p95_mm", "words"}
"""Keys that are always there; others an older release may not have written."""
_EMPTY = {"verdict", "brain", "series", "volume"}
"""Keys that may be null."""
log = logging.getLogger(__name__)
_SIDE = re.compile(r"(left|right)\b[ -]*", re.IGNORECASE)


@dataclass(frozen=True)
class CohortCase:
    """A case that has its results."""

    name: str
    report: Mapping[str, Any]
    """What ``report.json`` holds."""

    @property
    def subject(self) -> str:
        """Without ``sub-``; the case itself where its name has no subject."""
        return bids_entities(self.name)[0] or self.name

    @property
    def session(self) -> str:
        """Without ``ses-``; empty if there is none."""
        return bids_entities(self.name)[1]

    @property
    def verdict(self) -> str:
        """``ok``, ``check`` or ``implausible``; empty if nobody has looked."""
        return str((self.report.get("verdict") or {}).get("level", ""))

    def reasons(self, structure: str | None = None) -> list[str]:
        """In words: all, or those that a structure has and those of the whole."""
        found = (self.report.get("verdict") or {}).get("reasons", [])
        return [
            str(reason["words"])
            for reason in found
            if structure is None or (reason.get("structure") or structure) == structure
        ]

    @property
    def model(self) -> str:
        return str(self.report.get("model", {}).get("name", ""))

    def volumes(self) -> dict[str, float]:
        """Structure -> ml after rendering."""
        return {row["name"]: float(row["refined_ml"]) for row in self.report.get("structures", [])}


def read_cohort(folder: Path) -> list[CohortCase]:
    """The cases of an output folder whose reports can be read, by name."""
    cases = []
    for path in sorted(folder.glob("*/report.json")):
        name = printable(path.parent.name)
        try:
            report = read_json(path)
        except (MorseError, OSError):
            report = {}
        if is_whole_report(report):
            cases.append(CohortCase(name, report))
        else:
            log.warning("%s is left out of the tables: its report.json is damaged.", name)
    return cases


def is_whole_report(report: Any) -> bool:
    """Whether a ``report.json`` is as one was written, in all that tables and pages read of it.

    A person, a disk or another program may have changed it.
    """
    return _fits(report, _SHAPE) and bool(report["structures"])


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value of JSON has a shape: types, lists of one shape, objects with its keys."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(item, shape[0]) for item in value)
    if not isinstance(shape, Mapping):
        return isinstance(value, shape)
    if not isinstance(value, Mapping):
        return False
    if _ANY in shape:
        return all(_fits(item, shape[_ANY]) for item in value.values())
    if not value.keys() >= _NEEDED & shape.keys():
        return False
    return all(
        _fits(value[key], part) or (value[key] is None and key in _EMPTY)
        for key, part in shape.items() if key in value
    )  # fmt: skip


def fences(cases: list[CohortCase]) -> dict[tuple[str, str], tuple[float, float]]:
    """Model and structure -> the volumes in ml beyond which a case is an outlier of its cohort.

    Tukey's: 1.5 interquartile ranges beyond the quartiles; none of fewer than ten cases.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        for structure, volume in case.volumes().items():
            groups.setdefault((case.model, structure), []).append(volume)
    found = {}
    for key, values in groups.items():
        if len(values) >= _FEWEST:
            low, high = np.percentile(values, [25, 75])
            reach = _WHISKER * (high - low)
            found[key] = (float(low - reach), float(high + reach))
    return found


def split_side(structure: str) -> tuple[str, str]:
    """``Left thalamus`` -> ``left``, ``thalamus``; no side where the name has none."""
    match = _SIDE.match(structure)
    return (match[1].lower(), structure[match.end() :]) if match else ("", structure)


def keep_participants(inputs: Sequence[str | Path], folder: Path) -> None:
    """Copy the ``participants.tsv`` of a folder of scans beside the results, for their tables.

    :raises OutputError: if it cannot be written.
    """
    for place in inputs:
        source = Path(place) / PARTICIPANTS
        if isfile(source):
            target = prepare_output_directory(folder) / PARTICIPANTS
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)


def participants(folder: Path) -> dict[str, dict[str, str]]:
    """Subject -> ``age``, ``sex``, ``group``, as far as a ``participants.tsv`` has them."""
    try:
        with (folder / PARTICIPANTS).open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    found = {}
    for row in rows:
        plain = {str(key).strip().lower(): str(value or "") for key, value in row.items()}
        subject = plain.get("participant_id", "").removeprefix("sub-")
        if subject:
            about = {key: plain[key] for key in _ABOUT if plain.get(key)}
            found[subject] = {k: v for k, v in about.items() if v != "n/a"}
    return found
