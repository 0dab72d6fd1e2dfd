"""One request to the field of the last image, from sending to its answer or end. No Qt."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import vtk

from MorseCore.errors import MorseError
from MorseCore.service.protocol import Request
from MorseCore.system.files import replace_patiently
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.stepping import Later, StepRunner, Steps, removed
from MorseSegmentLib.worker.launch import CANCELLED, Failure
from MorseSegmentLib.worker.runner import Task, WorkerRunner
from MorseSegmentLib.worker.signals import Signals

__all__ = ["Answer", "Apply", "RefineRequest"]

Answer = tuple[str, SceneResult]
"""What was done, for a person, and the result to look at from now on."""
Apply = Callable[[Mapping[str, Any], Path], Steps[Answer]]
"""Puts the worker's answer into the scene: nothing before its last piece, then everything."""


class RefineRequest:
    """Waits for the answer to one request, and applies it in short steps.

    Signals: ``progress`` (stage, percent, seconds left or None); at the end ``ended`` first, then
    one of ``refined`` (what was done, the result to look at from now on) and ``failed`` (a
    :class:`~MorseSegmentLib.worker.launch.Failure`), or neither after :meth:`drop`.

    :param needed: nodes without which the answer makes no sense: what each is, by its ID.
    :param clearing: removes the answer's files, which may outlast the request.
    """

    def __init__(
        self,
        scene: vtk.vtkObject,
        runner: WorkerRunner,
        later: Later | None,
        *,
        apply: Apply,
        needed: Mapping[str, str],
        clearing: StepRunner,
    ) -> None:
        self._scene, self._runner, self._stepper = scene, runner, StepRunner(later)
        self._apply, self._needed, self._clearing = apply, needed, clearing
        self.signals = Signals("progress", "ended", "refined", "failed")
        self._isOver = False
        self._task: Task | None = None
        self._folder: Path | None = None

    def send(self, makeRequest: Callable[[Task], Request]) -> None:
        """Send the request.

        :raises MorseError: if there is no room for the answer's files.
        """
        try:
            task = self._runner.open()
        except OSError as error:
            raise MorseError(f"There is no room for the answer's files: {error}.") from error
        self._task = task
        task.signals.connect("progress", self._onProgress)
        task.signals.connect("result", self._onResult)
        task.signals.connect("failed", self._onFailed)
        self._runner.send(makeRequest(task))

    def cancel(self) -> None:
        """Stop it; ``failed`` follows as soon as the worker has stopped."""
        if self._folder is not None:
            if not self._stepper.isAtItsEnd:  # else the answer is in the scene already
                self.giveUp(CANCELLED)
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
        """End it now, tell the worker, and ignore what it may still answer."""
        if not self._isOver:
            self.drop()
            self.signals.emit("failed", failure)

    def drop(self) -> None:
        """End it now and emit nothing."""
        self._finish()
        if self._task is not None:
            self._runner.cancel(self._task)

    def _onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        if not self._isOver:
            self.signals.emit("progress", stage, percent, secondsLeft)

    def _onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        if self._isOver:
            return
        # The runner removes its folder when this returns, and the pieces still read from it.
        self._folder = folder.with_name(f"{folder.name}-answer")
        replace_patiently(folder, self._folder)
        self._stepper.start(self._apply(message, self._folder), self._onApplied, self._onNotApplied)

    def _onFailed(self, failure: Failure) -> None:
        if not self._isOver:
            self._finish()
            # The worker says of each stage in its own words that it was cancelled.
            isCancelled = failure.kind == CANCELLED.kind
            self.signals.emit("failed", CANCELLED if isCancelled else failure)

    def _onApplied(self, answer: Answer) -> None:
        self._finish()
        self.signals.emit("refined", *answer)

    def _onNotApplied(self, error: Exception) -> None:
        self._finish()
        ours = isinstance(error, MorseError)
        text = str(error) if ours else f"The answer cannot be used: {error}"
        detail = "".join(traceback.format_exception(error))
        self.signals.emit("failed", Failure(text, detail, type(error).__name__))

    def _finish(self) -> None:
        self._isOver = True
        self._stepper.stop()
        if self._folder is not None:
            self._clearing.start(removed(self._folder), lambda _: None, lambda _: None)
        self.signals.emit("ended")
