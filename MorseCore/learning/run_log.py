"""What a training run leaves to read: ``metrics.jsonl``, TensorBoard, the log."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from MorseCore.errors import OutputError
from MorseCore.files import write_text
from MorseCore.scoring.metrics import Summary

__all__ = ["RunLog"]

log = logging.getLogger(__name__)
_SHOWN = ("dice", "jaccard", "hd95", "asd")


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

    def validation(self, step: int, summaries: Mapping[str, Summary]) -> None:
        """One validation: means over structures and cases, per stage."""
        means = {
            stage: {name: getattr(summary.mean, name).mean for name in _SHOWN}
            for stage, summary in summaries.items()
        }
        missed = {stage: summary.mean.n_missed for stage, summary in summaries.items()}
        self._write({"step": step, "validation": means, "missed": missed})
        for stage, mean in means.items():
            log.info(
                "step %d %-7s DSC %.4f  Jaccard %.4f  HD95 %.3f mm  ASD %.3f mm  missed %d", step,
                stage, mean["dice"], mean["jaccard"], mean["hd95"], mean["asd"], missed[stage],
            )  # fmt: skip
            for name, value in mean.items():
                self._draw(f"{name}/{stage}", value, step)

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
            is_undone = record["step"] == step and "validation" in record and not validated
        except (ValueError, KeyError, TypeError):
            continue
        if is_kept and not is_undone:
            kept.append(line)
    return kept
