"""A cohort's tables and page, made from the results in a folder."""

from pathlib import Path

from MorseCore.commands.batchtable import BatchTable
from MorseCore.errors import ConfigError
from MorseCore.quality.cohort import read_cohort
from MorseCore.quality.pages import REPORT_PAGE, worst_first, write_pages
from MorseCore.quality.volumes import outliers_of, read_decisions, write_volumes

__all__ = ["check_tables", "write_cohort"]

_OURS = "<title>MorseSegment"


def write_cohort(folder: Path, *, interactive: int = 0) -> Path:
    """Write ``summary.csv``, ``volumes.csv`` and ``report.html``; returns the page.

    :param interactive: how many of the worst cases get a page to scroll and turn; 0: those that
        have one keep it.
    :raises ConfigError: if there are neither results nor failed cases in the folder.
    :raises OutputError: if one of them cannot be written.
    """
    cases = read_cohort(folder)
    table, outliers = BatchTable.merged(folder), outliers_of(cases)
    for case in cases:
        table.refresh(case.name, case.report, outliers.get(case.name, ()))
    if not table.rows:
        raise ConfigError(f"'{folder}' holds no results of 'morsesegment segment'.")
    table.write()
    write_volumes(folder, cases)
    if interactive:
        from MorseCore.commands.cohort_viewers import write_viewers  # it reads scans

        by_name = {case.name: case for case in cases}
        worst = worst_first(folder, cases, table.rows)[:interactive]
        write_viewers(folder, [by_name[name] for name in worst])
    return write_pages(folder, cases, table.rows)


def check_tables(folder: Path) -> None:
    """:raises ConfigError: if a table or page of somebody else's would be overwritten."""
    read_decisions(folder)
    page = folder / REPORT_PAGE
    if page.exists() and _OURS not in page.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(
            f"'{page}' is not a page of an earlier run and would be overwritten; move it away, or "
            "choose another output folder."
        )
