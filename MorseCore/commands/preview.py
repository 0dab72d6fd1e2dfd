"""``morsesegment preview``: images generated from label maps, as a picture."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "preview", help="images generated from label maps, as a picture",
        epilog="example: morsesegment preview my-labels --output grid.png",
    )  # fmt: skip
    parser.add_argument(
        "labels", type=Path, metavar="LABELS",
        help="folder of label maps, dataset.json, or a configuration of Training/configs",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("grid.png"), metavar="PNG")
    parser.add_argument(
        "--preset", choices=("any", "t1"), help="any MR contrast (default), or like T1"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other images")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the picture; returns the exit code."""
    from MorseCore.commands.preview_grid import run_preview

    return run_preview(options.labels, options.output, preset=options.preset, seed=options.seed)
