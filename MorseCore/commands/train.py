"""``morsesegment train``: a configuration file in, a model folder out.

torch is imported by the work itself, so that ``--help`` answers at once.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.system.allocation import keep_freed_memory
from MorseCore.system.exits import exit_code_of

__all__ = ["add", "add_arguments", "train", "train_as_asked"]

_TOO_LITTLE = (
    "error: There is too little memory; halve optimisation.batch_size and double "
    "optimisation.accumulate, or choose a smaller preparation.window."
)
_STOPPED = "error: Stopped; what was done since the last checkpoint is lost."


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "train", help="train a model by a configuration",
        epilog="example: morsesegment train Training/configs/hippocampus-t1.json device=cuda:0",
    )  # fmt: skip
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    return train_as_asked("morsesegment train", options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``morsesegment train`` and ``Training/train.py`` take."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="JSON, see Training/configs")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="a.b=value replaces a key"
    )
    parser.add_argument(
        "--export", action="store_true",
        help="do not train: write the model folder of the last checkpoint, marked preliminary",
    )  # fmt: skip


def train_as_asked(program: str, options: argparse.Namespace) -> int:
    """Train by the arguments above; ``program`` is what was typed before them."""
    words = [*program.split(), options.config.as_posix(), *options.overrides]
    return train(
        options.config, options.overrides, command=shlex.join(words), export=options.export
    )


def train(path: Path, overrides: Sequence[str], *, command: str, export: bool = False) -> int:
    """Train by a configuration file.

    :param overrides: ``key=value``; ``a.b=value`` replaces a key.
    :param command: what was typed, for the model's card.
    :param export: do not train; write the model folder of the last checkpoint.
    :return: exit code: 0 finished, 1 failed or stopped, 2 a faulty configuration.
    """
    from MorseCore.system.memory import is_out_of_memory
    from MorseCore.training.config import RunConfig
    from MorseCore.training.run import run

    keep_freed_memory()

    def work() -> int:
        config = decode(RunConfig, apply_overrides(read_json(path), list(overrides)), "")
        return run(config, command=command, export=export)

    try:
        return exit_code_of(work, stopped=_STOPPED)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(_TOO_LITTLE, file=sys.stderr)
        return 1
