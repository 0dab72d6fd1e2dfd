"""``morsesegment report``: a cohort's tables and page, made again from its results."""

import argparse
from pathlib import Path
from typing import Any

from MorseCore.errors import ConfigError

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "report", help="make a cohort's tables and page again",
        epilog="example: morsesegment report out",
    )  # fmt: skip
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the folder of a batch")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make tables and page; returns the exit code."""
    from MorseCore.commands.cohort_tables import check_tables, write_cohort

    folder: Path = options.output
    if not folder.is_dir():
        raise ConfigError(f"There is no folder '{folder}'.")
    check_tables(folder)
    print(write_cohort(folder))
    return 0
