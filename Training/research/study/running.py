"""Run the trainings of a table one after the other, each in a process of its own."""

import json
import logging
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from MorseCore.config import decode, encode, read_json
from MorseCore.errors import ConfigError, DatasetError, MorseError
from MorseCore.metrics.subjects import subjects_of
from MorseCore.system.files import prepare_output_directory, write_json
from MorseCore.training.config import RunConfig
from Training.research.shared.data import open_training_data
from Training.research.shared.identity import other_study
from Training.research.study.definition import Row

__all__ = ["Run", "check_data", "make_run", "minutes_of", "plan_runs", "run_all"]

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One training of a table."""

    row: str
    seed: int
    fold: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where train.py writes."""
        return Path(self.config.output) / self.config.name

    @property
    def is_done(self) -> bool:
        """Whether it ran to its end."""
        return (self.folder / "figures.json").is_file()


def make_run(
    config: RunConfig, *, row: str, name: str, seed: int, output: Path, fold: int | None = None
) -> Run:
    """A row's configuration as one training of it; the fold is the configuration's if not given."""
    fold = config.data.fold if fold is None else fold
    data = replace(config.data, fold=fold)
    return Run(
        row, seed, fold, replace(config, name=name, seed=seed, output=str(output), data=data)
    )


def plan_runs(
    row: Row, config: RunConfig, *, seeds: Sequence[int], folds: Sequence[int], output: Path
) -> list[Run]:
    """The trainings of a table's row: every seed on every fold."""
    slug = re.sub(r"[^a-z0-9]+", "-", row.name.lower().replace("²", "2")).strip("-")
    return [
        make_run(
            config, row=row.name, name=f"{slug}-f{fold}-s{seed}", seed=seed, fold=fold,
            output=output,
        )
        for seed in seeds for fold in folds
    ]  # fmt: skip


def check_data(runs: Iterable[Run], part: str | None = None) -> None:
    """Find mistakes before the first training: data that cannot be read, or nothing to compare.

    :param part: the split to be compared on: ``test`` or ``val``; None: any of them.
    :raises DatasetError: if a data set cannot be read, or has no cases to compare on.
    """
    for where in dict.fromkeys(run.config.data for run in runs):
        splits = open_training_data(where).splits
        subjects_of(Path(where.dataset))
        if not splits["test"] and not splits["val"]:
            raise DatasetError(
                f"The split '{where.split}' holds neither test nor validation cases."
            )
        if part and not splits[part]:
            raise DatasetError(f"The split '{where.split}' holds no cases of '{part}'.")


def run_all(runs: Sequence[Run]) -> list[str]:
    """Run what is not done yet; an interrupted run continues from its checkpoint.

    :return: the sentences that failed runs ended with.
    :raises ConfigError: if a folder holds a run of another configuration.
    """
    for run in runs:
        _write_configuration(run)
    failures: list[str] = []
    for number, run in enumerate(runs, start=1):
        try:
            if not run.is_done:
                _train(run, f"{run.config.name}, {number} of {len(runs)}")
        except MorseError as error:
            failures.append(str(error))
            log.warning("%s failed: %s", run.config.name, error)
    return failures


def _write_configuration(run: Run) -> None:
    """Write a run's configuration down, or compare it with the one that is there.

    :raises ConfigError: if the folder holds another one.
    """
    path = run.folder / "run.json"
    if path.is_file():
        # Decoded, so that a run of a version without some option is one of its default.
        known = decode(RunConfig, read_json(path), "")
        # The folder may be named in another way than before, from another working directory say.
        moved = replace(known, output=run.config.output)
        if moved != run.config:
            raise other_study(run.folder, "a run of another configuration")
        if moved == known:
            return
    prepare_output_directory(run.folder)
    write_json(path, encode(run.config))


def _train(run: Run, title: str) -> None:
    """Train in another process: each run has all memory and none of the last run's state."""
    done, steps = _saved_step(run), run.config.optimisation.iterations
    with (
        _timed(run.folder),
        (run.folder / "output.log").open("ab") as output,
        tqdm(desc=title, total=steps, initial=done, unit="step", leave=False) as bar,
    ):
        process = subprocess.Popen(
            [sys.executable, "-X", "utf8", str(TRAIN), str(run.folder / "run.json")],
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            while process.poll() is None:
                time.sleep(0.5)
                bar.n = max(done, _step(run.folder))
                bar.refresh()
        except BaseException as error:
            # It finishes its step and saves. On Windows to terminate is to kill, and Ctrl-C has
            # reached it already, as every program of this console.
            if not (sys.platform == "win32" and isinstance(error, KeyboardInterrupt)):
                process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise MorseError(_last_words(run.folder / "output.log"))


@contextmanager
def _timed(folder: Path) -> Iterator[None]:
    """Add a session to ``minutes.json``; null, for good, if one ended without writing its time."""
    path, started = folder / "minutes.json", time.monotonic()
    before = minutes_of(folder) if path.is_file() or _step(folder) else 0.0
    write_json(path, {"minutes": None})
    try:
        yield
    finally:
        minutes = before + (time.monotonic() - started) / 60
        write_json(path, {"minutes": None if math.isnan(minutes) else round(minutes, 3)})


def minutes_of(folder: Path) -> float:
    """Minutes of all sessions of a training; NaN if one of them was not timed."""
    try:
        return float(read_json(folder / "minutes.json")["minutes"])
    except (ConfigError, KeyError, TypeError, ValueError):  # null is no number
        return math.nan


def _step(folder: Path) -> int:
    """Steps done, by the last line of ``metrics.jsonl``."""
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, KeyError, ValueError):
        return 0  # not begun, or the line is half written


def _saved_step(run: Run) -> int:
    """The step from which a training will continue; 0 if from its beginning."""
    if run.config.resume == "never":
        return 0
    try:
        return int(read_json(run.folder / "state.json")["step"])
    except (ConfigError, KeyError, TypeError, ValueError):
        return 0


def _last_words(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    said = [line for line in lines if line.startswith("error: ")]
    return said[-1].removeprefix("error: ") if said else f"it ended without a word; see '{path}'"
