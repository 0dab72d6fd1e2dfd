"""``morsesegment report``: a cohort's tables and page, made again from its results."""

import argparse
from pathlib import Path
from typing import Any

from MorseCore.errors import ConfigError

__all__ = ["add", "add_interactive"]

_MOST = 1000


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "report", help="make a cohort's tables and page again",
        epilog="example: morsesegment report out",
    )  # fmt: skip
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the folder of a batch")
    add_interactive(parser)
    parser.add_argument(
        "--hide-names", action="store_true",
        help="also write OUTPUT/without-names, a copy of the pages with 'case 1' … to hand on",
    )  # fmt: skip
    parser.set_defaults(run=run)


def add_interactive(parser: argparse.ArgumentParser) -> None:
    """The option of every command that makes a cohort's pages."""
    parser.add_argument(
        "--interactive", type=_count, default=0, metavar="N",
        help="give the N worst cases a page to scroll and turn (3 MB and more each)",
    )  # fmt: skip


def _count(text: str) -> int:
    """A number of pages."""
    value = int(text) if text.isdecimal() and len(text) < 9 else 0
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST}; got '{text}'")
    return value


def run(options: argparse.Namespace) -> int:
    """Make tables and page; returns the exit code."""
    from MorseCore.commands.cohort_copy import write_copy
    from MorseCore.commands.cohort_tables import check_tables, write_cohort

    folder: Path = options.output
    if not folder.is_dir():
        raise ConfigError(f"There is no folder '{folder}'.")
    check_tables(folder)
    print(write_cohort(folder, interactive=options.interactive))
    if options.hide_names:
        print(write_copy(folder))
    return 0
