"""A copy of a cohort's pages that names nobody, to hand on, and the key that stays at home."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

from MorseCore.commands.batchtable import BatchTable
from MorseCore.errors import ConfigError
from MorseCore.quality.cohort import CohortCase, read_cohort
from MorseCore.quality.pages import disputed_path, picture_path, write_pages
from MorseCore.system.files import atomic_path, output_error, prepare_output_directory

__all__ = ["COPY", "KEY", "write_copy"]

COPY = "without-names"
KEY = "names.csv"
_COLUMNS = ("shown", "case")


def write_copy(folder: Path) -> Path:
    """Write ``without-names/`` with page and pictures, and ``names.csv``; returns the page.

    Cases are called ``case 1``, ``case 2`` …, and keep that when they are copied again. Sentences
    that a file's name may be in, subjects and what is known of them are left out.

    :param folder: of a batch, whose tables were just written.
    :raises ConfigError: if ``names.csv`` is somebody else's, or nobody can be called so.
    :raises OutputError: if something cannot be written.
    """
    cases, lines = read_cohort(folder), BatchTable(folder).rows
    names = _numbered(folder / KEY, sorted({*lines, *(case.name for case in cases)}))
    copy = prepare_output_directory(folder / COPY)
    for name, shown in names.items():
        _copy_pictures(picture_path(folder, name), picture_path(copy, shown))
    nameless = [_without_words(case, names[case.name]) for case in cases]
    summary = {names[name]: {**row, "message": ""} for name, row in lines.items()}
    return write_pages(copy, nameless, summary)


def _without_words(case: CohortCase, shown: str) -> CohortCase:
    """A case under its number; of its words those of the verdict, which name no file."""
    return replace(case, name=shown, report={**case.report, "warnings": []})


def _numbered(path: Path, cases: list[str]) -> dict[str, str]:
    """Case -> what it is called; those that had a number keep it, and the key is written."""
    names: dict[str, str] = {}
    if path.exists():
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                names = {row["case"]: row["shown"] for row in csv.DictReader(stream)}
        except (OSError, UnicodeDecodeError, csv.Error, KeyError):
            raise ConfigError(
                f"'{path}' is not the key of an earlier copy and would be overwritten: move it."
            ) from None
    taken = {*names.values()}
    if len(taken) < len(names) or any(not n or set(n) & set('/\\:*?"<>|') for n in taken):
        raise ConfigError(
            f"'{path}' calls two cases alike, or one as no file can be called: correct it."
        )
    free = (shown for n in range(1, len(names) + len(cases) + 1)
            if (shown := f"case {n}") not in taken)  # fmt: skip
    names |= {case: next(free) for case in cases if case not in names}
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        writer.writerows((shown, case) for case, shown in names.items())
    return {case: names[case] for case in cases}


def _copy_pictures(source: Path, target: Path) -> None:
    for old, new in ((source, target), (disputed_path(source), disputed_path(target))):
        if old.is_file():
            prepare_output_directory(new.parent)
            try:
                shutil.copyfile(old, new)
            except OSError as error:
                raise output_error(new, error) from error
