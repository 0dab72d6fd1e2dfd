"""``morsesegment worker``: serve the Slicer module over stdin and stdout."""

import argparse
from typing import Any

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "worker", help="serve the Slicer module over stdin and stdout",
        epilog="example: morsesegment worker   (one JSON object a line, see Documentation)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Serve until stdin is closed; returns the exit code."""
    from MorseCore.service.worker import main as serve

    return serve()
