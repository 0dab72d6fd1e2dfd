"""Which cases belong to one subject. They are not independent observations."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from MorseCore.errors import DatasetError
from MorseCore.images.names import name_without_suffix

__all__ = ["mean_by_subject", "read_rows", "read_subjects", "subjects_of"]


def read_subjects(path: Path) -> dict[str, str]:
    """Case -> subject, of a table with a column ``case`` and one ``subject`` or ``patient``.

    Commas, semicolons or tabs separate the columns. A case may be named by its image's file name.

    Cases without a subject are left out, and so are all cases of a table without such a column.

    :raises DatasetError: if the file is no such table.
    """
    rows = read_rows(path)
    key = next((k for k in ("subject", "patient") if rows and k in rows[0]), None)
    if key and "case" not in rows[0]:
        raise DatasetError(f"'{path}' names subjects, but has no column 'case'.")
    if not key:
        return {}
    return {name_without_suffix(row["case"] or ""): row[key] for row in rows if row[key]}


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a table by the names of its columns, which commas, semicolons or tabs separate.

    :raises DatasetError: if the file is no table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:  # Excel begins with a mark
            text = stream.read()
        # Spreadsheets of some countries write semicolons.
        marks = {mark: text.partition("\n")[0].count(mark) for mark in ",;\t"}
        return list(csv.DictReader(text.splitlines(), delimiter=max(marks, key=lambda m: marks[m])))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"'{path}' cannot be read as a table: {error}.") from None


def mean_by_subject(values: Mapping[str, float], subjects: Mapping[str, str]) -> dict[str, float]:
    """Subject -> mean over the subject's cases; a case without a subject counts as its own subject.

    :param values: by case.
    :param subjects: case -> subject.
    """
    grouped: dict[str, list[float]] = {}
    for case in sorted(values):
        grouped.setdefault(subjects.get(case, case), []).append(values[case])
    return {subject: float(np.mean(found)) for subject, found in grouped.items()}


def subjects_of(dataset: Path) -> dict[str, str]:
    """Case -> subject, from ``cases.csv`` beside ``dataset.json``; empty if there is no such file.

    Cases without a subject are left out.

    :raises DatasetError: if the file is no table with a column ``case``.
    """
    path = dataset.parent / "cases.csv"
    return read_subjects(path) if path.is_file() else {}
