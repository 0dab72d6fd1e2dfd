"""The table of cases: one row a case, stage and structure, written and read as CSV."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from MorseCore.errors import DatasetError
from MorseCore.metrics.scores import MEASURES, Measure, Status, StructureScore
from MorseCore.system.files import atomic_path

__all__ = ["CaseScore", "Unit", "read_cases", "write_cases"]

Unit = Literal["mm", "voxels"]
_BEFORE = ("case", "stage", "label", "structure", "status")
_AFTER = (
    "prediction_voxels", "reference_voxels", "prediction_ml", "reference_ml", "background_jaccard",
)  # fmt: skip


class CaseScore(NamedTuple):
    """One case's scores in one stage."""

    structures: Mapping[int, StructureScore]
    """By label, without background."""
    background_jaccard: float
    """What mIoU counts beside the structures."""


def write_cases(
    path: Path,
    cases: Mapping[str, Mapping[str, CaseScore]],
    names: Mapping[int, str],
    *,
    unit: Unit = "mm",
) -> None:
    """Write scores by case, then by stage.

    :param names: of the structures, by label.
    :param unit: of the distances, which their columns are named after.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow([*_BEFORE, *(_column(m, unit) for m in MEASURES), *_AFTER])
        for case, stages in cases.items():
            for stage, score in stages.items():
                for label, s in score.structures.items():
                    measures = [f"{getattr(s, m.name):.6g}" for m in MEASURES]
                    volumes = [f"{s.prediction_ml:.6g}", f"{s.target_ml:.6g}"]
                    writer.writerow([
                        case, stage, label, names[label], s.status, *measures,
                        s.prediction_voxels, s.target_voxels, *volumes,
                        f"{score.background_jaccard:.6g}",
                    ])  # fmt: skip


def read_cases(path: Path) -> dict[str, dict[str, CaseScore]]:
    """What :func:`write_cases` wrote in millimetres, to six digits.

    :raises DatasetError: if the file is no such table, or one in voxels.
    """
    cases: dict[str, dict[str, CaseScore]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                stages = cases.setdefault(row["case"], {})
                background = float(row["background_jaccard"])
                score = stages.setdefault(row["stage"], CaseScore({}, background))
                score.structures[int(row["label"])] = _score(row)  # type: ignore[index]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"'{path}' is no table of scores: {error}.") from error
    return cases


def _column(measure: Measure, unit: Unit) -> str:
    """``dice``, ``hd95_mm``."""
    return f"{measure.name}_{unit}" if measure.is_distance else measure.name


def _score(row: Mapping[str, str]) -> StructureScore:
    if "hd95_voxels" in row:
        raise ValueError("its distances are in voxels, not in mm")
    status = row["status"]
    if status not in get_args(Status):
        raise ValueError(f"unknown status '{status}'")
    return StructureScore(
        prediction_voxels=int(row["prediction_voxels"]),
        target_voxels=int(row["reference_voxels"]),
        prediction_ml=float(row["prediction_ml"]),
        target_ml=float(row["reference_ml"]),
        status=cast(Status, status),
        **{m.name: float(row[_column(m, "mm")]) for m in MEASURES},
    )
