"""The results in an output folder, read once for all tables and pages."""

import csv
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
    "keep_participants",
    "participants",
    "read_cohort",
    "split_side",
]

PARTICIPANTS = "participants.tsv"
_ABOUT = ("age", "sex", "group")
_FEWEST = 10  # cases from which a cohort has outliers of its own, as in fsqc
_WHISKER = 1.5  # interquartile ranges
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
        try:
            case = CohortCase(printable(path.parent.name), read_json(path))
            case.volumes()
        except (MorseError, OSError, AttributeError, KeyError, TypeError, ValueError):
            continue  # damaged: it is made again, or the batch's table says what became of it
        if case.volumes():
            cases.append(case)
    return cases


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
