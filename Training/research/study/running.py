"""Run the trainings of a table one after the other, each in a process of its own."""

import json
import logging
import math
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
from MorseCore.training.dataset import open_dataset

__all__ = ["Run", "check_data", "numbered", "run_all"]

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


def check_data(runs: Iterable[Run], part: str | None = None) -> None:
    """Find out before the first training what would end them all, or leave nothing to compare.

    :param part: the split to be compared on: ``test`` or ``val``; None: any of them.
    :raises DatasetError: if a data set cannot be read, or has no cases to compare on.
    """
    places = dict.fromkeys((d.dataset, d.split, d.fold) for d in (run.config.data for run in runs))
    for dataset, split, fold in places:
        splits = open_dataset(Path(dataset), Path(split), fold=fold).splits
        subjects_of(Path(dataset))
        if not splits["test"] and not splits["val"]:
            raise DatasetError(f"The split '{split}' holds neither test nor validation cases.")
        if part and not splits[part]:
            raise DatasetError(f"The split '{split}' holds no cases of '{part}'.")


def run_all(runs: Sequence[Run]) -> list[str]:
    """Run what is not done yet; a run that was interrupted goes on from its checkpoint.

    :return: the sentences that failed runs ended with.
    :raises ConfigError: if a folder holds a run of another configuration.
    """
    for run in runs:
        _claim(run)
    total = sum(run.config.optimisation.iterations for run in runs)
    failures: list[str] = []
    with tqdm(total=total, unit="step", smoothing=0.02) as bar:
        for run in runs:
            after = bar.n + run.config.optimisation.iterations
            bar.set_description(run.config.name)
            try:
                if not run.is_done:
                    _train(run, bar)
            except MorseError as error:
                failures.append(str(error))
                log.warning("%s failed: %s", run.config.name, error)
            _skip(bar, after - bar.n)
    return failures


def _skip(bar: tqdm, steps: int) -> None:
    """Move on over steps that nobody has made now, without taking them for speed."""
    if bar.disable:
        return
    bar.n += steps
    bar.initial += steps
    bar.last_print_n = bar.n
    bar.refresh()


def _claim(run: Run) -> None:
    """Write a run's configuration down, or compare it with the one that is there."""
    path = run.folder / "run.json"
    if path.is_file():
        # Decoded, so that a run of a version without some option is one of its default.
        known = decode(RunConfig, read_json(path), "")
        # The folder may be named in another way than before, from another working directory say.
        moved = replace(known, output=run.config.output)
        if moved != run.config:
            raise ConfigError(
                f"'{run.folder}' holds a run of another configuration; choose another --output, "
                "or delete it."
            )
        if moved == known:
            return
    prepare_output_directory(run.folder)
    write_json(path, encode(run.config))


def _train(run: Run, bar: tqdm) -> None:
    """Train in another process, so that a row has all memory and none of the former's state."""
    done = _saved_step(run)
    _skip(bar, done)
    log_before = _modified(run.folder)
    with _timed(run.folder), (run.folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-X", "utf8", str(TRAIN), str(run.folder / "run.json")],
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            while process.poll() is None:
                time.sleep(0.5)
                # What was logged after the checkpoint is still there until the run goes on.
                step = _step(run.folder) if _modified(run.folder) != log_before else done
                if step > done:
                    bar.update(step - done)
                    done = step
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
    before = _minutes_so_far(folder)
    write_json(path, {"minutes": None})
    try:
        yield
    finally:
        minutes = before + (time.monotonic() - started) / 60
        write_json(path, {"minutes": None if math.isnan(minutes) else round(minutes, 3)})


def _minutes_so_far(folder: Path) -> float:
    """Of the sessions before; NaN if there was one that is not known."""
    try:
        minutes = read_json(folder / "minutes.json")["minutes"]
        return math.nan if minutes is None else float(minutes)
    except (ConfigError, KeyError, TypeError, ValueError):
        return math.nan if _step(folder) else 0.0


def _step(folder: Path) -> int:
    """Steps done, by the last line of ``metrics.jsonl``."""
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, KeyError, ValueError):
        return 0  # not begun, or the line is half written


def _modified(folder: Path) -> int:
    """When something was last logged, or dropped from the log."""
    try:
        return (folder / "metrics.jsonl").stat().st_mtime_ns
    except OSError:
        return 0


def _saved_step(run: Run) -> int:
    """Where a training will go on; 0 if at its beginning."""
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


def numbered(config: RunConfig, *, name: str, seed: int, fold: int, output: Path) -> RunConfig:
    """A row's configuration as one run of it."""
    return replace(
        config, name=name, seed=seed, output=str(output), data=replace(config.data, fold=fold)
    )
