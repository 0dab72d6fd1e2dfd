"""Asks the worker what it has to compute with. No Qt."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from MorseCore.service.protocol import Describe
from MorseSegmentLib.worker.catalog import Catalog
from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runner import WorkerRunner

__all__ = ["Describer"]


class Describer:
    """One question at a time; the answer goes to everybody who is interested.

    :param onFailure: called with the reason, or with None once an answer has come.
    """

    def __init__(
        self,
        runner: WorkerRunner,
        onCatalog: Callable[[Catalog], None],
        onFailure: Callable[[Failure | None], None],
    ) -> None:
        self._runner, self._onCatalog, self._onFailure = runner, onCatalog, onFailure
        self._asking = False

    def ask(self) -> None:
        """Ask, unless an answer is on its way."""
        if not self._asking:
            self._asking = True
            task = self._runner.open(self)
            self._runner.send(Describe(id=task.number))

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        """Descriptions have none."""

    def onLog(self, level: str, message: str) -> None:
        """The run's log is elsewhere."""

    def onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        self._asking = False
        self._onFailure(None)
        self._onCatalog(Catalog.fromAnswer(message))

    def onError(self, failure: Failure) -> None:
        self._asking = False
        if failure.kind != "Cancelled":
            self._onFailure(failure)
