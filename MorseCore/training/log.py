"""What a training run leaves to read: ``metrics.jsonl``, TensorBoard, the log, a bar."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from MorseCore.errors import OutputError
from MorseCore.system.files import write_json, write_text
from MorseCore.training.validation import Figures

__all__ = ["PROGRESS", "ProgressTeller", "RunLog", "reading_progress", "training_progress"]

T = TypeVar("T")

log = logging.getLogger(__name__)
_AFTER = {"validation", "monitor"}  # what is written after the training step
_SHOWN = (
    ("dice", "DSC", 4, ""), ("jaccard", "Jaccard", 4, ""), ("hd95", "HD95", 3, " mm"),
    ("asd", "ASD", 3, " mm"),
)  # fmt: skip


class RunLog:
    """``metrics.jsonl`` is the record, a JSON object a line; TensorBoard shows its curves.

    Steps count from 1: the line of step n tells what the n-th step saw and the rate it had.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self._folder, self._enabled = folder, enabled
        self._stream: IO[str] | None = None
        self._board: Any = None

    def start(self, step: int, *, validated: bool = True) -> None:
        """Begin, or go on after ``step``: what a killed run logged beyond it is dropped.

        :param validated: whether the validation of ``step`` is done; otherwise it is dropped, too.
        """
        if not self._enabled:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "metrics.jsonl"
        kept = _lines_until(path, step, validated=validated) if step else []
        write_text(path, "".join(line + "\n" for line in kept))
        self._stream = path.open("a", encoding="utf-8", newline="\n")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("TensorBoard is not installed; the curves are in %s", path)
        else:  # from ``purge_step`` on, what is on disk is not shown any more
            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)

    def losses(self, step: int, losses: Mapping[str, float], *, rate: float) -> None:
        """One training step."""
        self._write({"step": step, **{k: round(v, 6) for k, v in losses.items()}, "rate": rate})
        for name, value in losses.items():
            self._draw(f"loss/{name}", value, step)

    def skipped(self, step: int, *, count: int) -> None:
        """A step that changed nothing, the ``count``-th of the run."""
        log.warning("step %d skipped: a loss or gradient is not finite", step)
        self._write({"step": step, "skipped": count})

    def validation(self, step: int, figures: Figures) -> None:
        """One validation: means over structures and images, per stage."""
        record = {"step": step, "validation": figures.means, "missed": figures.missed}
        if figures.structures:
            record["structures"] = figures.structures
        self._write(record)
        for stage, mean in figures.means.items():
            shown = "  ".join(
                f"{title} {mean[name]:.{digits}f}{unit}"
                for name, title, digits, unit in _SHOWN
                if name in mean
            )
            log.info("step %d %-7s %s  missed %d", step, stage, shown, figures.missed[stage])
            for name, value in mean.items():
                self._draw(f"{name}/{stage}", value, step)
        if figures.structures:
            log.info(
                "  %s", ", ".join(f"{name} {dice:.2f}" for name, dice in figures.structures.items())
            )

    def monitored(self, step: int, record: Mapping[str, Any]) -> None:
        """What was found in real scans; see :mod:`MorseCore.training.monitor`."""
        self._write({"step": step, "monitor": record})

    def close(self) -> None:
        """Flush and close; once more does no harm."""
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()
        self._stream = self._board = None

    def _write(self, record: dict[str, Any]) -> None:
        if self._stream is not None:
            try:
                self._stream.write(json.dumps(record, allow_nan=False) + "\n")
                self._stream.flush()
            except OSError as error:
                raise OutputError(
                    f"'{self._stream.name}' cannot be written: {error.strerror}."
                ) from error

    def _draw(self, name: str, value: float, step: int) -> None:
        if self._board is not None:
            self._board.add_scalar(name, value, step)


def _lines_until(path: Path, step: int, *, validated: bool) -> list[str]:
    """The lines of the first ``step`` steps; without the half line of a run that was killed."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
            is_kept = record["step"] <= step
            is_undone = record["step"] == step and _AFTER & record.keys() and not validated
        except (ValueError, KeyError, TypeError):
            continue
        if is_kept and not is_undone:
            kept.append(line)
    return kept


PROGRESS = "progress.json"
_PAUSE = 60.0  # seconds between two lines
_READING_PAUSE = 10.0  # seconds between two lines while cases are read
_WRITTEN = 5.0  # seconds between two records of the progress


def reading_progress(cases: Sequence[T], part: str, *, enabled: bool) -> Iterator[T]:
    """The cases one by one, with a bar on a terminal and a line now and then elsewhere."""
    bar = tqdm(cases, desc=part, unit="case", leave=False, disable=None if enabled else True)
    last = time.monotonic()
    for number, case in enumerate(bar):
        if enabled and bar.disable and time.monotonic() - last >= _READING_PAUSE:
            last = time.monotonic()
            log.info("%s: %d of %d cases read", part, number, len(cases))
        yield case


class ProgressTeller(Protocol):
    """Called after each step."""

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        """:param step: steps that are done."""


@contextmanager
def training_progress(
    name: str, *, start: int, total: int, enabled: bool, folder: Path
) -> Iterator[ProgressTeller]:
    """Yield a function that tells steps, losses and the time left.

    :param start: steps that were done before.
    :param folder: of the run, where ``progress.json`` says the same to ``train RUN --status``.
    """
    # ``disable=None`` is tqdm's word for "only on a terminal".
    bar = tqdm(
        total=total, initial=start, desc=name, unit="it", mininterval=1, dynamic_ncols=True,
        disable=None if enabled else True,
    )  # fmt: skip
    began = last = written = time.monotonic()

    def tell(step: int, losses: Mapping[str, float]) -> None:
        nonlocal last, written
        bar.set_postfix({key: f"{value:.3f}" for key, value in losses.items()}, refresh=False)
        bar.update()
        now = time.monotonic()
        if enabled and (now - written >= _WRITTEN or step == total or step == start + 1):
            written = now
            speed = (now - began) / (step - start)
            found = {key: round(value, 6) for key, value in losses.items()}
            record = {"step": step, "total": total, "seconds_a_step": speed, "losses": found}
            write_json(folder / PROGRESS, record)
        if enabled and bar.disable and now - last >= _PAUSE:
            last = now
            left = (now - began) / (step - start) * (total - step)
            shown = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
            log.info("step %d of %d: %s; %s left", step, total, shown, tqdm.format_interval(left))

    with bar:
        if bar.disable:
            yield tell
        else:
            with logging_redirect_tqdm():
                yield tell
