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

from MorseCore.commands.plan import (
    ANY_CONTRAST,
    HOURS,
    add_start,
    changes_of,
    describe,
    shown_bar,
)
from MorseCore.config import apply_overrides, decode, read_configuration, read_json
from MorseCore.errors import ConfigError
from MorseCore.system.allocation import keep_freed_memory
from MorseCore.system.exits import exit_code_of

if TYPE_CHECKING:
    from MorseCore.training.config import RunConfig

__all__ = ["add", "add_arguments", "train", "train_as_asked"]

_LONGER = "optimisation.iterations"
RUN = "config.json"  # in the folder of a run
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
        "config", type=Path, metavar="DATA|PLAN|CONFIG|RUN",
        help="scans with labels, a plan of them, a configuration (JSON, see Training/configs), or "
        "the folder of a run, to go on with it",
    )  # fmt: skip
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="a.b=value replaces a key"
    )
    parser.add_argument(
        "--hours", type=float, metavar="H",
        help=f"of DATA: time for the training on this machine (default {HOURS:g}, a night)",
    )  # fmt: skip
    add_start(parser)
    parser.add_argument(
        "--export", action="store_true",
        help="do not train: write the model folder of the last checkpoint, marked preliminary",
    )  # fmt: skip
    parser.add_argument(
        "--finish", action="store_true",
        help="of RUN: end the training, also in another terminal, and write its model folder",
    )  # fmt: skip
    parser.add_argument(
        "--status", action="store_true", help="of RUN: say how far it is; changes nothing"
    )


def train_as_asked(program: str, options: argparse.Namespace) -> int:
    """Do as the arguments above say; ``program`` is what was typed before them."""
    changes = changes_of(options)
    words = [*program.split(), options.config.as_posix(), *changes]
    if options.status:
        return exit_code_of(lambda: _status(options.config))
    return train(
        options.config, changes, command=shlex.join(words), export=options.export,
        finish=options.finish, hours=options.hours,
    )  # fmt: skip


def _status(run: Path) -> None:
    from MorseCore.training.status import describe_run

    print(describe_run(run))


def train(
    path: Path, overrides: Sequence[str], *, command: str, export: bool = False,
    finish: bool = False, hours: float | None = None,
) -> int:  # fmt: skip
    """Train on a person's data, by a plan or by a configuration file, or go on with a run.

    :param hours: of data: time for the training.
    :param overrides: ``key=value``; ``a.b=value`` replaces a key.
    :param command: what was typed, for the model's card.
    :param export: do not train; write the model folder of the last checkpoint.
    :param finish: end the training, in another process if one trains there, and write its model.
    :return: exit code: 0 finished, 1 failed or stopped, 2 a faulty configuration.
    """
    from MorseCore.system.files import is_training_in
    from MorseCore.system.memory import is_out_of_memory
    from MorseCore.training.run import run
    from MorseCore.training.trainer import FINISH

    keep_freed_memory()

    def work() -> int:
        if finish and is_training_in(path):
            (path / FINISH).touch()
            print(f"'{path}' is asked to finish: it writes its model after the present step.")
            return 0
        config = _config_of(path, list(overrides), hours=hours)
        return run(config, command=command, export=export, finish=finish)

    try:
        return exit_code_of(work, stopped=_STOPPED)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(_TOO_LITTLE, file=sys.stderr)
        return 1


def _continued(folder: Path, overrides: list[str]) -> "RunConfig":
    """The configuration of a run; ``optimisation.iterations=+N`` makes it N iterations longer."""
    from MorseCore.training.config import RunConfig

    data = read_json(folder / RUN)
    data |= {"output": folder.resolve().parent.as_posix(), "name": folder.resolve().name}
    planned = data["optimisation"]["iterations"]
    said = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key == _LONGER and value[:1] == "+" and value[1:].isdecimal():
            total = planned + int(value[1:])
            said += [f"{key}={total}", f"optimisation.continued_from={planned}"]
        else:
            said.append(override)
    return decode(RunConfig, apply_overrides(data, said), "")


def _config_of(path: Path, overrides: list[str], *, hours: float | None) -> "RunConfig":
    """The configuration that is meant, by what a file holds or a folder is."""
    from MorseCore.planning.planfile import is_plan
    from MorseCore.training.config import RunConfig
    from MorseCore.training.layouts import is_dataset

    is_run = (path / RUN).is_file()
    data: dict[str, Any] = {}
    if not path.is_dir() and path.suffix.lower() not in (".csv", ".tsv"):
        data = read_configuration(path)
    is_data = not (is_run or is_plan(data)) and (not data or is_dataset(data))
    if hours is not None and not is_data:
        raise ConfigError(
            f"'--hours' is for data that are to be planned; of '{path}' the steps are known, and "
            "optimisation.iterations=N changes them."
        )
    if ANY_CONTRAST in overrides and not is_data:
        raise ConfigError(
            f"'--any-contrast' is for data that are to be planned; '{path}' says already what is "
            "generated: data.generated_share=0.5 changes it."
        )
    if is_run:
        return _continued(path, overrides)
    if is_data or is_plan(data):
        return _planned(path, overrides, hours=hours or HOURS, is_plan=not is_data)
    return decode(RunConfig, apply_overrides(data, overrides), "")


def _planned(path: Path, overrides: list[str], *, hours: float, is_plan: bool) -> "RunConfig":
    """The configuration of a plan, or of data that are planned now; its data are written."""
    from MorseCore.planning import making, planfile

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            "Several processes train by a configuration; one process makes it of a plan or of data."
        )
    if is_plan:
        plan = planfile.with_overrides(planfile.read_plan(path), overrides)
        folder = Path(plan.training.get("output", "runs")) / str(plan.training["name"])
    else:
        plan, folder = making.plan_for_training(
            path, hours=hours, overrides=overrides, bar=shown_bar
        )
        print(describe(plan), file=sys.stderr)
    prepared = (folder / "data").resolve()
    config = planfile.run_config(plan, prepared)  # a mistake is found before anything is written
    planfile.prepare_data(plan, prepared, shown=lambda cases: shown_bar(cases, "labels"))
    planfile.write_plan(folder / making.PLAN, plan)
    return config
