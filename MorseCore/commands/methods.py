"""``morsesegment methods``: everything a training configuration can name."""

import argparse
import json
from dataclasses import asdict
from typing import Any

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "methods", help="everything a training configuration can name",
        epilog="example: morsesegment methods --json",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the list; returns the exit code."""
    from MorseCore.commands.method_list import list_methods

    methods = list_methods()
    if options.json:
        print(json.dumps([asdict(method) for method in methods], indent=2))
        return 0
    width = max(len(method.where) for method in methods)
    for method in methods:
        print(f"{method.kind:9} {method.name:19} {method.where:{width}} {method.paper}")
    return 0
