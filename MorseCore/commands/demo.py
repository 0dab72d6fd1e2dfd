"""``morsesegment demo``: a whole run on a head that comes along."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "demo", help="segment a real brain MR and draw the result",
        epilog="example: morsesegment demo --output demo-output",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment the head and draw it; returns the exit code."""
    from MorseCore.commands.demo_run import run_demo

    return run_demo(options.output)
