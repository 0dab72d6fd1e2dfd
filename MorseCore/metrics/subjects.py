"""Which cases are of one subject: two of them are no two independent observations."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from MorseCore.errors import DatasetError
from MorseCore.images.names import name_without_suffix

__all__ = ["mean_by_subject", "read_subjects", "subjects_of"]


def read_subjects(path: Path) -> dict[str, str]:
    """Case -> subject, of a table with a column ``case`` and one ``subject`` or ``patient``.

    Columns are parted by commas, semicolons or tabs; a case may be given by its image's file name.

    A case whose subject is left empty is not in it; nor is any of a table without such a column.

    :raises DatasetError: if the file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:  # Excel begins with a mark
            text = stream.read()
        # Spreadsheets of some countries write semicolons.
        marks = {mark: text.partition("\n")[0].count(mark) for mark in ",;\t"}
        rows = list(csv.DictReader(text.splitlines(), delimiter=max(marks, key=lambda m: marks[m])))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"'{path}' cannot be read as a table: {error}.") from None
    key = next((k for k in ("subject", "patient") if rows and k in rows[0]), None)
    if key and "case" not in rows[0]:
        raise DatasetError(f"'{path}' names subjects, but has no column 'case'.")
    if not key:
        return {}
    return {name_without_suffix(row["case"] or ""): row[key] for row in rows if row[key]}


def mean_by_subject(values: Mapping[str, float], subjects: Mapping[str, str]) -> dict[str, float]:
    """Subject -> mean over the subject's cases; a case that no subject has is one of its own.

    :param values: by case.
    :param subjects: case -> subject.
    """
    grouped: dict[str, list[float]] = {}
    for case in sorted(values):
        grouped.setdefault(subjects.get(case, case), []).append(values[case])
    return {subject: float(np.mean(found)) for subject, found in grouped.items()}


def subjects_of(dataset: Path) -> dict[str, str]:
    """Case -> subject by ``cases.csv`` beside ``dataset.json``; empty if it does not say.

    Two cases of one subject are no two independent observations. A case whose subject is left
    empty is not in it.

    :raises DatasetError: if the file is no table with a column ``case``.
    """
    path = dataset.parent / "cases.csv"
    return read_subjects(path) if path.is_file() else {}
