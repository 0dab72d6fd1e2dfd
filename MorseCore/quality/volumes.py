"""``volumes.csv``: every structure of every case in a line, ready for statistics."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from MorseCore.errors import ConfigError
from MorseCore.quality.cohort import CohortCase, fences, participants, split_side
from MorseCore.system.files import atomic_path

__all__ = ["VOLUMES", "outliers_of", "read_decisions", "volume_rows", "write_volumes"]

VOLUMES = "volumes.csv"
_PERSONAL = ("accept", "note")
"""A person's own decision on a line, which is kept when the table is made again."""
_COLUMNS = (
    "case", "subject", "session", "age", "sex", "group", "structure", "side", "StructName", "SegId",
    "Volume_mm3", "coarse_ml", "refined_ml", "coarse_probability_ml", "refined_probability_ml",
    "total_ml", "asymmetry", "intracranial_ml", "outlier", "verdict", "reasons", "spacing_mm",
    "model", "model_sha256", "version", *_PERSONAL,
)  # fmt: skip
_FREESURFER = {
    2: "Cerebral-White-Matter", 3: "Cerebral-Cortex", 4: "Lateral-Ventricle", 5: "Inf-Lat-Vent",
    7: "Cerebellum-White-Matter", 8: "Cerebellum-Cortex", 10: "Thalamus", 11: "Caudate",
    12: "Putamen", 13: "Pallidum", 14: "3rd-Ventricle", 15: "4th-Ventricle", 16: "Brain-Stem",
    17: "Hippocampus", 18: "Amygdala", 24: "CSF", 26: "Accumbens-area", 28: "VentralDC",
    41: "Cerebral-White-Matter", 42: "Cerebral-Cortex", 43: "Lateral-Ventricle",
    44: "Inf-Lat-Vent", 46: "Cerebellum-White-Matter", 47: "Cerebellum-Cortex", 49: "Thalamus",
    50: "Caudate", 51: "Putamen", 52: "Pallidum", 53: "Hippocampus", 54: "Amygdala",
    58: "Accumbens-area", 60: "VentralDC",
}  # fmt: skip
"""FreeSurfer's number -> its name, without the side."""
Row = dict[str, Any]


def write_volumes(folder: Path, cases: Sequence[CohortCase]) -> None:
    """Write the table of a cohort's folder anew; ``accept`` and ``note`` stay as they were.

    :raises ConfigError: if the folder has a ``volumes.csv`` that is somebody else's.
    :raises OutputError: if it cannot be written, e.g. while Excel has it open on Windows.
    """
    kept = read_decisions(folder)
    with (
        atomic_path(folder / VOLUMES) as path,
        path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.DictWriter(stream, _COLUMNS, restval="")
        writer.writeheader()
        for row in volume_rows(cases, participants(folder)):
            writer.writerow(row | kept.get((row["case"], row["structure"]), {}))


def volume_rows(
    cases: Sequence[CohortCase], about: Mapping[str, Mapping[str, str]]
) -> Iterator[Row]:
    """The lines of the table, without a person's decisions.

    :param about: age, sex and group by subject.
    """
    limits = fences(list(cases))
    for case in cases:
        common = _of_case(case) | dict(about.get(case.subject, {}))
        for item in _structures(case):
            name = item["structure"]
            yield {
                **common, **item,
                "outlier": _outlier(item["refined_ml"], limits.get((case.model, name))),
                "reasons": " ".join(case.reasons(name)),
            }  # fmt: skip


def outliers_of(cases: Sequence[CohortCase]) -> dict[str, list[str]]:
    """Case -> a sentence for each of its volumes that is an outlier of the cohort."""
    found: dict[str, list[str]] = {}
    for row in volume_rows(cases, {}):
        if row["outlier"]:
            found.setdefault(row["case"], []).append(
                f"{row['structure']} {row['refined_ml']:.2f} ml is an outlier of this cohort "
                f"({row['outlier']})."
            )
    return found


def _of_case(case: CohortCase) -> Row:
    """What all lines of a case have in common."""
    report = case.report
    spacing = report.get("input", {}).get("spacing_mm_ijk", [])
    return {
        "case": case.name,
        "subject": case.subject,
        "session": case.session,
        "intracranial_ml": (report.get("brain") or {}).get("intracranial_ml", ""),
        "verdict": case.verdict,
        "spacing_mm": " x ".join(f"{x:g}" for x in spacing),
        "model": case.model,
        "model_sha256": report.get("model", {}).get("sha256", ""),
        "version": report.get("versions", {}).get("MorseSegment", ""),
    }


def _structures(case: CohortCase) -> list[Row]:
    """A line a structure, and one a side where a model of several structures has both sides."""
    labels = {row["name"]: row for row in case.report.get("labels", [])}
    rows = []
    for item in case.report["structures"]:
        side, name = split_side(item["name"])
        label = labels.get(item["name"], {})
        side = label.get("side") or side
        rows.append({**item, "structure": item["name"], "side": side, "_name": name.casefold(),
                     **_freesurfer(label.get("freesurfer"), side)})  # fmt: skip
    if (case.report.get("sides") or [{}])[-1].get("name") == "total":
        rows += [_sum(rows, side) for side in ("left", "right")]
    pairs: dict[str, dict[str, Row]] = {}
    for row in rows:
        pairs.setdefault(row["_name"], {})[row["side"]] = row
    for row in rows:
        pair = pairs[row["_name"]]
        volumes = [pair[side]["refined_ml"] for side in ("left", "right") if side in pair]
        total = sum(volumes) if row["side"] else row["refined_ml"]
        row["total_ml"] = round(total, 4)
        if len(volumes) == 2 and total:
            row["asymmetry"] = round(2 * (volumes[0] - volumes[1]) / total, 4)
        row["Volume_mm3"] = round(1000 * row["refined_ml"], 1)
    return [{key: row[key] for key in _COLUMNS if key in row} for row in rows]


def _sum(rows: Sequence[Row], side: str) -> Row:
    """All structures of a side in a line."""
    own = [row for row in rows if row["side"] == side]
    keys = [key for key in own[0] if key.endswith("_ml") and key != "change_ml"]
    sums = {key: round(sum(row[key] for row in own), 4) for key in keys}
    return {**sums, "structure": f"{side.title()} total", "side": side, "_name": "total"}


def _freesurfer(number: int | None, side: str) -> Row:
    """``StructName`` and ``SegId`` as FreeSurfer has them; empty for what it does not know."""
    if number not in _FREESURFER:
        return {}
    name = _FREESURFER[number]
    return {"StructName": f"{side.title()}-{name}" if side else name, "SegId": number}


def _outlier(volume: float, limits: tuple[float, float] | None) -> str:
    if limits is None:
        return ""
    return "low" if volume < limits[0] else "high" if volume > limits[1] else ""


def read_decisions(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """What a person wrote into an earlier table, by case and structure.

    :raises ConfigError: if it is no such table.
    """
    path = folder / VOLUMES
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)  # a German Excel separates by semicolons
            reader = csv.DictReader(
                stream, restkey="", restval="", delimiter=";" if ";" in first else ","
            )
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error):
        rows, columns = [], []
    if not {"case", "structure", *_PERSONAL} <= set(columns):
        raise ConfigError(
            f"'{path}' is not a table of an earlier run and would be overwritten; move it away, or "
            "choose another output folder."
        )
    return {
        (row["case"], row["structure"]): decided
        for row in rows
        if any((decided := {key: row[key] for key in _PERSONAL}).values())
    }
