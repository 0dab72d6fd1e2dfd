"""What a training run says: ``metrics.jsonl``, TensorBoard, the terminal."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from MorseCore.metrics import Summary

__all__ = ["RunLog"]

log = logging.getLogger(__name__)
_SHOWN = ("dice", "jaccard", "hd95", "asd")


class RunLog:
    """``metrics.jsonl`` is the record, a JSON object a line; TensorBoard shows its curves."""

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self._folder, self._enabled = folder, enabled
        self._stream: IO[str] | None = None
        self._board: Any = None

    def start(self, step: int) -> None:
        """Begin, or go on after ``step``: what a killed run logged beyond it is dropped."""
        if not self._enabled:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "metrics.jsonl"
        kept = []
        if step and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._stream = path.open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("TensorBoard is not installed; the curves are in %s", path)
        else:
            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step or None)

    def losses(self, step: int, losses: dict[str, float], *, rate: float) -> None:
        """One training step."""
        self._write({"step": step, **{k: round(v, 6) for k, v in losses.items()}, "rate": rate})
        if self._board is not None:
            for name, value in losses.items():
                self._board.add_scalar(f"loss/{name}", value, step)

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
            if self._board is not None:
                for name, value in mean.items():
                    self._board.add_scalar(f"{name}/{stage}", value, step)

    def close(self) -> None:
        """Flush and close."""
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()

    def _write(self, record: dict[str, Any]) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # the half line of a run that was killed while writing it
        return 1 << 62
