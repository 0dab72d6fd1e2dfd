"""``morsesegment train``: scans with labels, a plan or a configuration in, a model folder out.

torch is imported by the work itself, so that ``--help`` answers at once.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MorseCore.commands.plan import HOURS, describe, shown_bar
from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.errors import ConfigError
from MorseCore.system.allocation import keep_freed_memory
from MorseCore.system.exits import exit_code_of

if TYPE_CHECKING:
    from MorseCore.training.config import RunConfig

__all__ = ["add", "add_arguments", "train", "train_as_asked"]

_TOO_LITTLE = (
    "error: There is too little memory; halve optimisation.batch_size and double "
    "optimisation.accumulate, or choose a smaller preparation.window."
)
_STOPPED = "error: Stopped; what was done since the last checkpoint is lost."


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "train", help="train a model on scans with labels, by a plan or by a configuration",
        epilog="example: morsesegment train my_scans --hours 3",
    )  # fmt: skip
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    return train_as_asked("morsesegment train", options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``morsesegment train`` and ``Training/train.py`` take."""
    parser.add_argument(
        "config", type=Path, metavar="DATA|PLAN|CONFIG",
        help="scans with labels, a plan of them, or a configuration (JSON, see Training/configs)",
    )  # fmt: skip
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="a.b=value replaces a key"
    )
    parser.add_argument(
        "--hours", type=float, default=HOURS, metavar="H",
        help="of DATA: time for the training on this machine (default %(default)g, a night)",
    )  # fmt: skip
    parser.add_argument(
        "--export", action="store_true",
        help="do not train: write the model folder of the last checkpoint, marked preliminary",
    )  # fmt: skip


def train_as_asked(program: str, options: argparse.Namespace) -> int:
    """Train by the arguments above; ``program`` is what was typed before them."""
    words = [*program.split(), options.config.as_posix(), *options.overrides]
    return train(
        options.config, options.overrides, command=shlex.join(words), export=options.export,
        hours=options.hours,
    )  # fmt: skip


def train(
    path: Path, overrides: Sequence[str], *, command: str, export: bool = False,
    hours: float = HOURS,
) -> int:  # fmt: skip
    """Train on a person's data, by a plan or by a configuration file.

    :param hours: of data: time for the training.
    :param overrides: ``key=value``; ``a.b=value`` replaces a key.
    :param command: what was typed, for the model's card.
    :param export: do not train; write the model folder of the last checkpoint.
    :return: exit code: 0 finished, 1 failed or stopped, 2 a faulty configuration.
    """
    from MorseCore.system.memory import is_out_of_memory
    from MorseCore.training.run import run

    keep_freed_memory()

    def work() -> int:
        config = _config_of(path, list(overrides), hours=hours)
        return run(config, command=command, export=export)

    try:
        return exit_code_of(work, stopped=_STOPPED)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(_TOO_LITTLE, file=sys.stderr)
        return 1


def _config_of(path: Path, overrides: list[str], *, hours: float) -> "RunConfig":
    """The configuration that is meant, by what a file holds or a folder is."""
    from MorseCore.planning.making import plan_for_training
    from MorseCore.planning.planfile import (
        is_plan,
        prepare_data,
        read_plan,
        run_config,
        with_overrides,
    )
    from MorseCore.training.config import RunConfig
    from MorseCore.training.layouts import is_dataset

    data: dict[str, Any] = {}
    if not path.is_dir() and path.suffix.lower() not in (".csv", ".tsv"):
        data = read_json(path)
        if not is_plan(data) and not is_dataset(data):
            return decode(RunConfig, apply_overrides(data, overrides), "")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            "Several processes train by a configuration; one process makes it of a plan or of data."
        )
    if is_plan(data):
        plan = with_overrides(read_plan(path), overrides)
        folder = Path(plan.training.get("output", "runs")) / str(plan.training["name"])
    else:
        plan, folder = plan_for_training(path, hours=hours, overrides=overrides, bar=shown_bar)
        print(describe(plan), file=sys.stderr)
    prepared = (folder / "data").resolve()
    config = run_config(plan, prepared)  # a mistake is found before anything is written
    prepare_data(plan, prepared, shown=lambda cases: shown_bar(cases, "labels"))
    return config
