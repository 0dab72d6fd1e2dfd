"""The table of a batch: which cases failed and why, and which to look at first."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from MorseCore.errors import ConfigError
from MorseCore.quality.verdict import LEVELS
from MorseCore.system.files import atomic_path, printable

__all__ = ["SUMMARY", "BatchTable", "part_name", "summary_row"]

SUMMARY = "summary.csv"
_PARTS = "summary.part-*.csv"
_FIRST = (
    "case", "state", "status", "verdict", "reasons", "outliers", "attention", "rendered_voxels",
    "changed_points", "seconds", "peak_memory_mb",
)  # fmt: skip
_LAST = "message"
_NEEDED = {"case", "status", "attention", _LAST}  # what earlier releases wrote, too
Row = Mapping[str, Any]


class BatchTable:
    """``summary.csv`` of an output folder, written anew after every case.

    Cases of earlier runs into the same folder stay in it as long as their results are there.

    :param name: another name, for a part of a batch.
    :raises ConfigError: if the folder has a table of that name that is somebody else's.
    """

    def __init__(self, folder: Path, name: str = SUMMARY) -> None:
        self.path = folder / name
        self.rows: dict[str, Row] = {row["case"]: row for row in _read(self.path)}

    @classmethod
    def merged(cls, folder: Path) -> "BatchTable":
        """The table of a folder with what parts of a batch know; the newest word counts."""
        table = cls(folder)
        parts = [*folder.glob(_PARTS), *([table.path] if table.path.exists() else [])]
        for part in sorted(parts, key=lambda path: path.stat().st_mtime_ns):
            table.rows |= {row["case"]: row for row in _read(part)}
        return table

    def expect(self, cases: Iterable[str]) -> None:
        """Put in the cases that nothing is known of yet."""
        for name in map(printable, cases):
            self.rows.setdefault(name, {"case": name, "state": "waiting", "status": ""})

    def add(self, row: Row) -> None:
        """Put in a case, in place of what an earlier run said of it."""
        self.rows[printable(row["case"])] = row

    def refresh(self, name: str, report: Mapping[str, Any], outliers: Sequence[str]) -> None:
        """Bring the line of a case up to date with its report; a failure since then stays.

        :param outliers: sentences about volumes that lie apart from the cohort's others.
        """
        status = self.rows.get(name, {}).get("status") or "done"
        if status != "failed":
            row = summary_row(name, status, report)
            self.rows[name] = row | {"outliers": " ".join(outliers)}

    def write(self) -> None:
        """Write the table: failed cases first, then by verdict and the attention they call for.

        :raises OutputError: if it cannot be written, e.g. while Excel has it open on Windows.
        """
        rows = sorted(self.rows.values(), key=_urgency)
        others = dict.fromkeys(key for row in rows for key in row if key not in (*_FIRST, _LAST))
        with (  # a lock would need a package that Slicer may not have
            atomic_path(self.path) as path,
            path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            writer = csv.DictWriter(file, [*_FIRST, *others, _LAST], restval="")
            writer.writeheader()
            writer.writerows({k: _plain(v) for k, v in row.items()} for row in rows)


def part_name(part: tuple[int, int] | None) -> str:
    """The table of a part of a batch: several that run at a time do not write into one file."""
    return SUMMARY if part is None else f"summary.part-{part[0]}-of-{part[1]}.csv"


def summary_row(name: str, status: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says of a finished case."""
    points, verdict = report.get("points", {}), report.get("verdict") or {}
    row = {
        "case": name,
        "state": "done",
        "status": status,
        "verdict": verdict.get("level", ""),
        "reasons": " ".join(reason["words"] for reason in verdict.get("reasons", [])),
        "attention": report.get("attention", ""),
        "rendered_voxels": points.get("rendered_voxels", 0),
        "changed_points": points.get("changed", 0),
        "seconds": round(sum(report.get("seconds", {}).values()), 2),
        "peak_memory_mb": report.get("peak_memory_mb", ""),
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
    if not set(columns) >= _NEEDED:
        raise ConfigError(
            f"'{path}' is not a table of an earlier run and would be overwritten; "
            "choose another output folder."
        )
    return [
        {key: value for key, value in row.items() if key and value} | {"status": row["status"]}
        for row in rows
        if row["status"] == "failed" or (path.parent / row["case"] / "report.json").is_file()
    ]


def _urgency(row: Row) -> tuple[bool, int, float]:
    try:
        attention = float(row.get("attention", ""))
    except ValueError:
        attention = -1.0
    level = row.get("verdict", "")
    rank = -LEVELS.index(level) if level in LEVELS else 0
    return row["status"] != "failed", rank, -attention


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
