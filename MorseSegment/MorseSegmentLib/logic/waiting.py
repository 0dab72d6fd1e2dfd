"""A run for scripts: it returns when the result is in the scene. No Qt."""

from collections.abc import Callable, Mapping
from typing import Any

import vtk

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.segmenter import Segmenter
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.worker.launch import Failure, workerCommand
from MorseSegmentLib.worker.subprocess import SubprocessRunner

__all__ = ["segmentAndWait"]


class _Outcome:
    """Keeps how a run ended."""

    def __init__(self) -> None:
        self.shown: SceneResult | None = None
        self.failure: Failure | None = None

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        """A script does not look."""

    def onLog(self, level: str, message: str) -> None:
        """A script does not look."""

    def onFinished(self, shown: SceneResult) -> None:
        self.shown = shown

    def onFailed(self, failure: Failure) -> None:
        self.failure = failure


def segmentAndWait(
    scene: vtk.vtkObject, volumeNode: vtk.vtkObject, options: Mapping[str, Any]
) -> SceneResult:
    """Start a worker, segment, end the worker; see :meth:`Segmenter.start` for the options.

    :raises MorseError: with the worker's sentence, if there is no result.
    """
    waiting: list[Callable[[], None]] = []
    runner = SubprocessRunner(workerCommand())
    segmenter = Segmenter(scene, runner, waiting.append)
    outcome = _Outcome()
    try:
        segmenter.start(volumeNode, options, outcome)
        while waiting:
            waiting.pop()()
        runner.wait()
    finally:
        segmenter.close()
    if outcome.shown is None:
        raise MorseError(outcome.failure.message if outcome.failure else "There is no result.")
    return outcome.shown
