"""One question to the field of the last image: asked, watched, answered or given up. No Qt."""

import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import vtk

from MorseCore.errors import MorseError
from MorseCore.service.protocol import Request
from MorseCore.system.files import replace_patiently
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.stepping import Later, Stepper, Steps
from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runner import Task, WorkerRunner

__all__ = ["Answer", "Apply", "Question", "RefineObserver"]

Answer = tuple[str, SceneResult]
"""What was done, for a person, and the result to look at from now on."""
Apply = Callable[[Mapping[str, Any], Path], Steps[Answer]]
"""Puts the worker's answer into the scene: nothing before its last piece, then everything."""

_CANCELLED = Failure("Cancelled; nothing was changed.", kind="Cancelled")


class RefineObserver(Protocol):
    """Who watches. Either onRefined or onRefineFailed is called, once."""

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None: ...

    def onRefined(self, text: str, shown: SceneResult) -> None:
        """``shown`` is the result to look at from now on."""

    def onRefineFailed(self, failure: Failure) -> None: ...


class Question:
    """Listens to the runner for one request, and lets its answer be applied in short pieces.

    :param needed: nodes without which the answer makes no sense: what each is, by its ID.
    :param ended: called before the observer hears of the end.
    """

    def __init__(
        self,
        scene: vtk.vtkObject,
        runner: WorkerRunner,
        later: Later | None,
        *,
        apply: Apply,
        needed: Mapping[str, str],
        observer: RefineObserver,
        ended: Callable[[], None],
    ) -> None:
        self._scene, self._runner, self._stepper = scene, runner, Stepper(later)
        self._apply, self._needed, self._observer, self._ended = apply, needed, observer, ended
        self._isOver = False
        self._task: Task | None = None
        self._folder: Path | None = None

    def ask(self, makeRequest: Callable[[Task], Request]) -> None:
        """Send the request.

        :raises MorseError: if there is no room for the answer's files.
        """
        try:
            self._task = self._runner.open(self)
        except OSError as error:
            raise MorseError(f"There is no place for the answer's files: {error}.") from error
        self._runner.send(makeRequest(self._task))

    def cancel(self) -> None:
        """Stop it; the observer hears of it as soon as the worker has stopped."""
        if self._folder is not None:
            self.giveUp(_CANCELLED)
        elif self._task is not None:
            self._runner.cancel(self._task)

    def check(self) -> None:
        """Give up if a node that is needed is gone."""
        for nodeID, what in self._needed.items():
            if self._scene.GetNodeByID(nodeID) is None:
                text = f"{what} was removed meanwhile; nothing else was changed."
                self.giveUp(Failure(text, kind="NodeRemoved"))
                return

    def giveUp(self, failure: Failure) -> None:
        """End it now; the worker is told, and what it may still answer is not wanted."""
        if not self._isOver:
            self.drop()
            self._observer.onRefineFailed(failure)

    def drop(self) -> None:
        """End it now without a word."""
        self._finish()
        if self._task is not None:
            self._runner.cancel(self._task)

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        if not self._isOver:
            self._observer.onProgress(stage, percent, secondsLeft)

    def onLog(self, level: str, message: str) -> None:
        """The run's log is elsewhere."""

    def onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        if self._isOver:
            return
        # The runner removes its folder when this returns, and the pieces still read from it.
        self._folder = folder.with_name(f"{folder.name}-answer")
        replace_patiently(folder, self._folder)
        self._stepper.start(self._apply(message, self._folder), self._applied, self._failed)

    def onError(self, failure: Failure) -> None:
        if not self._isOver:
            self._finish()
            # The worker says of each stage in its own words that it was cancelled.
            isCancelled = failure.kind == _CANCELLED.kind
            self._observer.onRefineFailed(_CANCELLED if isCancelled else failure)

    def _applied(self, answer: Answer) -> None:
        self._finish()
        self._observer.onRefined(*answer)

    def _failed(self, error: Exception) -> None:
        self._finish()
        ours = isinstance(error, MorseError)
        text = str(error) if ours else f"The answer cannot be used: {error}"
        detail = "".join(traceback.format_exception(error))
        self._observer.onRefineFailed(Failure(text, detail, type(error).__name__))

    def _finish(self) -> None:
        self._isOver = True
        self._stepper.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._ended()
