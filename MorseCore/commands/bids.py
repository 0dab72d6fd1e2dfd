"""``morsesegment bids``: a BIDS data set in, its derivatives out, in the call form of BIDS Apps."""

import argparse
from pathlib import Path
from typing import Any

from MorseCore.commands.segment import add_settings, add_sharing

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "bids", help="segment a BIDS data set (BIDS App)",
        epilog="example: morsesegment bids study derivatives participant --participant-label 01",
    )  # fmt: skip
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the derivatives")
    parser.add_argument(
        "level", choices=("participant", "group"),
        help="participant: segment; group: tables and page of all that was segmented",
    )  # fmt: skip
    parser.add_argument(
        "--participant-label", "--participant_label", nargs="+", metavar="LABEL",
        help="subjects, with or without 'sub-'; default: all",
    )  # fmt: skip
    add_settings(parser)
    add_sharing(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment the participants, or make the group's tables; returns the exit code."""
    from MorseCore.commands.bids_run import run_bids

    return run_bids(options)
