"""The table of a batch: which cases failed and why, and which to look at first."""

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles
from typing import Any

from MorseCore.errors import ConfigError, OutputError
from MorseCore.quality.verdict import LEVELS
from MorseCore.system.files import printable, replaced_together

__all__ = ["SUMMARY", "BatchTable", "summary_row"]

SUMMARY = "summary.csv"
_FIRST = ("case", "status", "verdict", "attention", "rendered_voxels", "changed_points", "seconds")
_LAST = ("reasons", "outliers", "message")
_COHORT = 10  # cases that say what is usual among them
_FENCE = 1.5  # times the quartiles' distance
_VOLUME = " refined_ml"
Row = Mapping[str, Any]


class BatchTable:
    """``summary.csv`` of an output folder, written anew after every case.

    Cases of earlier runs into the same folder stay in it as long as their results are there.

    :raises ConfigError: if the folder has a ``summary.csv`` that is somebody else's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, Row] = {row["case"]: row for row in _read(folder / SUMMARY)}

    def add(self, row: Row) -> None:
        """Put in a case, in place of what an earlier run said of it."""
        self._rows[printable(row["case"])] = row

    def mark_outliers(self) -> None:
        """Say of each case which volumes lie apart from the others', where there are ten cases.

        Apart: more than 1.5 times the quartiles' distance below the first or above the third.
        """
        columns = {key for row in self._rows.values() for key in row if key.endswith(_VOLUME)}
        marks: dict[str, list[str]] = {name: [] for name in self._rows}
        for column in sorted(columns):
            values = {name: _number(row, column) for name, row in self._rows.items()}
            known = {name: ml for name, ml in values.items() if ml is not None}
            if len(known) < _COHORT:
                continue
            first, _, third = quantiles(known.values(), n=4, method="inclusive")
            low, high = first - _FENCE * (third - first), third + _FENCE * (third - first)
            for name, ml in known.items():
                if not low <= ml <= high:
                    words = f"{column[: -len(_VOLUME)]} has {ml:.3g} ml"
                    marks[name].append(f"{words}, the others {low:.3g} to {high:.3g}")
        for name, found in marks.items():
            self._rows[name] = {**self._rows[name], "outliers": "; ".join(found)}

    def write(self) -> None:
        """Write the table: failed cases first, then by verdict and the attention they call for.

        :raises OutputError: if it cannot be written, e.g. while Excel has it open on Windows.
        """
        rows = sorted(self._rows.values(), key=_urgency)
        others = dict.fromkeys(key for row in rows for key in row if key not in (*_FIRST, *_LAST))
        try:
            with replaced_together(self._folder, last=SUMMARY) as staged:
                path = staged / SUMMARY
                with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as f:
                    writer = csv.DictWriter(f, [*_FIRST, *others, *_LAST], restval="")
                    writer.writeheader()
                    writer.writerows({k: _plain(v) for k, v in row.items()} for row in rows)
        except OSError as error:
            raise OutputError(
                f"{self._folder / SUMMARY} cannot be written: {error.strerror}."
            ) from error


def summary_row(name: str, status: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says of a finished case."""
    points, verdict = report.get("points", {}), report.get("verdict") or {}
    row = {
        "case": name,
        "status": status,
        "verdict": verdict.get("level", ""),
        "attention": report.get("attention", ""),
        "rendered_voxels": points.get("rendered_voxels", 0),
        "changed_points": points.get("changed", 0),
        "seconds": round(sum(report.get("seconds", {}).values()), 2),
        "reasons": " ".join(reason["words"] for reason in verdict.get("reasons", [])),
        "message": " ".join(report.get("warnings", [])),
    }
    for item in report.get("structures", []):
        for key in ("refined_ml", "change_ml", "shift_p95_mm"):
            row[f"{item['name']} {key}"] = item[key]
    return row


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of an earlier run that still have their results, or still have none."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="", restval="")
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error):
        rows, columns = [], []
    if not {"case", "status", "attention", "message"} <= set(columns):
        raise ConfigError(
            f"'{path}' is not a table of an earlier run and would be overwritten; "
            "choose another output folder."
        )
    return [
        {key: value for key, value in row.items() if key and value}
        for row in rows
        if row["status"] == "failed" or (path.parent / row["case"] / "report.json").is_file()
    ]


def _urgency(row: Row) -> tuple[bool, int, float]:
    try:
        attention = float(row.get("attention", ""))
    except ValueError:
        attention = -1.0
    level = row.get("verdict", "")
    return row["status"] != "failed", -LEVELS.index(level) if level in LEVELS else 0, -attention


def _number(row: Row, column: str) -> float | None:
    try:
        return float(row.get(column, ""))
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
