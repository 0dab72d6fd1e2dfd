"""Listeners and processes for tests of the runners."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runner import Task
from warm_worker import warm_pids


class Recorder:
    """Keeps what the signals of a task tell."""

    def __init__(self, task: Task) -> None:
        self.progress: list[tuple[str, float, float | None]] = []
        self.logs: list[str] = []
        self.results: list[tuple[Mapping[str, Any], list[str]]] = []
        self.failures: list[Failure] = []
        task.signals.connect("progress", self._onProgress)
        task.signals.connect("log", lambda _level, message: self.logs.append(message))
        task.signals.connect("result", self._onResult)
        task.signals.connect("failed", self.failures.append)

    def _onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        self.progress.append((stage, percent, secondsLeft))

    def _onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        self.results.append((message, sorted(path.name for path in folder.iterdir())))

    def isAnswered(self) -> bool:
        """A result or an error has come."""
        return bool(self.results or self.failures)


def isAlive(pid: int) -> bool:
    """Whether there is such a process, other than one that only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children() -> set[int]:
    """Live children of this process, but for those that other tests or Python keep."""
    own = os.getpid()
    with open(f"/proc/{own}/task/{own}/children") as stream:
        found = {pid for pid in map(int, stream.read().split()) if isAlive(pid)}
    return {pid for pid in found - warm_pids() if not _isPythons(pid)}


def _isPythons(pid: int) -> bool:
    """Whether it is a helper that ``multiprocessing`` leaves until this process ends."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return b"from multiprocessing." in stream.read()
    except OSError:
        return False
