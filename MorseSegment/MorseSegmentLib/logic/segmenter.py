"""One run, from the volume in the scene to the result in the scene, or to one sentence. No Qt."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import vtk

from MorseCore.errors import MorseError
from MorseCore.service.exchange import load_segmentation
from MorseCore.service.protocol import Segment
from MorseSegmentLib.logic.framejob import AllFrames
from MorseSegmentLib.logic.inputs import readVolume
from MorseSegmentLib.logic.jobs import Job, OneVolume
from MorseSegmentLib.logic.sequences import findSequence
from MorseSegmentLib.logic.volumefile import Steps, writeInSteps
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runner import Task, WorkerRunner

__all__ = ["RunObserver", "Segmenter", "whyNot"]

_IMAGE = "image.npy"


class RunObserver(Protocol):
    """Who watches a run. Either onFinished or onFailed is called, once."""

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None: ...

    def onLog(self, level: str, message: str) -> None: ...

    def onFinished(self, shown: SceneResult) -> None: ...

    def onFailed(self, failure: Failure) -> None: ...


def whyNot(volumeNode: vtk.vtkObject | None) -> str:
    """Why a volume cannot be segmented, for a person; empty if it can."""
    try:
        readVolume(volumeNode)
    except MorseError as error:
        return str(error)
    return ""


class Segmenter:
    """Runs one segmentation at a time.

    Example::

        segmenter = Segmenter(slicer.mrmlScene, runner, later=lambda f: qt.QTimer.singleShot(0, f))
        segmenter.start(volumeNode, lambda task: Segment(...), observer)
        segmenter.cancel()

    :param later: calls a function in the next turn of the event loop.
    """

    def __init__(
        self,
        scene: vtk.vtkObject,
        runner: WorkerRunner,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._scene, self._runner, self._later = scene, runner, later
        self._run: _Run | None = None
        self._fieldWorker: int | None = None  # that holds the last image's field
        self._fieldRecords: set[str] = set()  # of the results that were made from it
        self._tags = [
            scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved),
            scene.AddObserver(scene.StartCloseEvent, self._onStartClose),
        ]

    @property
    def isBusy(self) -> bool:
        """Whether a run is going on."""
        return self._run is not None

    def hasField(self, shown: SceneResult) -> bool:
        """Whether the worker still holds the field of a result, to be asked further."""
        worker = self._runner.worker
        return (
            worker is not None
            and worker == self._fieldWorker
            and (shown.record in self._fieldRecords)
        )

    def keepField(self, shown: SceneResult) -> None:
        """Another result was made from the same field."""
        self._fieldRecords.add(shown.record)

    @property
    def frame(self) -> tuple[int, int] | None:
        """Number of the frame that is segmented, from 1, and of all; None if it is a volume."""
        run = self._run
        return None if run is None or run.job.count == 1 else (run.number + 1, run.job.count)

    def start(
        self,
        volumeNode: vtk.vtkObject,
        options: Mapping[str, Any],
        observer: RunObserver,
        *,
        allFrames: bool = False,
    ) -> None:
        """Segment a volume.

        :param options: of the request: ``model``, and if wanted ``device``, ``roi``, ``points``,
            ``passes``.
        :param allFrames: of a volume that shows a frame of a sequence: segment every frame. Either
            all of them get a result, or none does.
        :raises MorseError: if the volume cannot be segmented or a run is going on.
        """
        if self.isBusy:
            raise MorseError("A run is going on already.")
        sequence = findSequence(self._scene, volumeNode) if allFrames else None
        if sequence is None:
            job: Job = OneVolume(self._scene, volumeNode)
        else:
            job = AllFrames(self._scene, sequence, volumeNode)
        run = _Run(self, job, dict(options), observer)
        self._fieldWorker = None  # the worker keeps one
        self._begin(run)

    def _begin(self, run: "_Run") -> None:
        """Hand the run's next image over."""
        volume = run.job.read(run.number)
        task = self._runner.open(run)
        run.begin(task, volume.matrix, volume.name)
        self._run = run
        self._write(run, task, writeInSteps(task.folder / _IMAGE, volume.array))

    def cancel(self) -> None:
        """Stop the run; the observer hears of it as soon as the worker has stopped."""
        run = self._run
        if run is not None and run.task is not None:
            self._runner.cancel(run.task)
        elif run is not None:  # between two frames
            self._abort(Failure("Cancelled; nothing was changed.", kind="Cancelled"))

    def close(self) -> None:
        """End the run without a word, and listen to nothing any more."""
        self._run = None
        self._runner.stop()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _write(self, run: "_Run", task: Task, steps: Steps) -> None:
        if self._run is not run:  # it was ended meanwhile
            steps.close()
            return
        try:
            next(steps)
        except StopIteration:
            self._runner.send(run.request(task))
        except OSError as error:
            place = task.folder.parent
            self._abort(Failure(f"The image could not be handed over in '{place}': {error}."))
        else:
            self._later(lambda: self._write(run, task, steps))

    def _abort(self, failure: Failure) -> None:
        """End the worker and the run at once."""
        run, self._run = self._run, None
        self._runner.stop()
        if run is not None:
            run.observer.onFailed(failure)

    def _onNodeRemoved(self, *_event: Any) -> None:
        run = self._run
        if run is not None and not run.job.isInScene():
            self._abort(
                Failure(
                    f"The volume '{run.job.name}' was removed during the run; nothing was added.",
                    kind="InputRemoved",
                )
            )

    def _onStartClose(self, *_event: Any) -> None:
        # IDs begin anew in the next scene: another result would pass for the field's.
        self._fieldWorker, self._fieldRecords = None, set()
        if self._run is not None:
            self._abort(
                Failure(
                    "The scene was closed during the run; nothing was added.", kind="SceneClosed"
                )
            )

    def finish(self, run: "_Run", message: Mapping[str, Any], folder: Path) -> None:
        """Take the image's result; after the last one, show all."""
        run.task = None
        run.job.take(run.number, load_segmentation(folder, message))
        if run.job.count > 1:
            run.observer.onLog("info", f"{run.job.title(run.number)} is done.")
        if run.number + 1 < run.job.count:
            run.number += 1
            # Not now: this is within a slot of the worker, which has a folder to clear.
            self._later(lambda: self._continue(run))
            return
        shown = run.job.finish()
        self._run = None
        if run.job.keepsField:
            self._fieldWorker, self._fieldRecords = self._runner.worker, {shown.record}
        run.observer.onFinished(shown)

    def _continue(self, run: "_Run") -> None:
        if self._run is not run:
            return
        try:
            self._begin(run)
        except (MorseError, OSError) as error:
            self._abort(run.explained(Failure(str(error))))

    def fail(self, run: "_Run", failure: Failure) -> None:
        """End the run; after a cancel, the worker with it."""
        if self._run is not run:
            return  # it was ended here, and the worker with it
        self._run = None
        if failure.kind == "Cancelled":
            self._runner.stop()
        run.observer.onFailed(run.explained(failure))


class _Run:
    """Listens to the runner for one image after the other."""

    def __init__(
        self, owner: Segmenter, job: Job, options: dict[str, Any], observer: RunObserver
    ) -> None:
        self._owner, self._options, self.job, self.observer = owner, options, job, observer
        self._matrix: Any = ()
        self._name = job.name
        self._started = time.monotonic()
        self.number = 0
        self.task: Task | None = None

    def begin(self, task: Task, matrix: tuple[tuple[float, ...], ...], name: str) -> None:
        """The next image has this task."""
        self.task, self._matrix, self._name = task, matrix, name

    def request(self, task: Task) -> Segment:
        """What the worker is asked."""
        return Segment(
            id=task.number,
            image=str(task.folder / _IMAGE),
            ijk_to_ras=self._matrix,
            output=str(task.folder),
            name=self._name,
            **self._options,
        )

    def explained(self, failure: Failure) -> Failure:
        """With the frame in which it happened."""
        if self.job.count == 1 or failure.kind == "Cancelled":
            return failure
        title = self.job.title(self.number)
        return replace(failure, message=f"{title}: {failure.message} No frame's result was added.")

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        """Of all images, as far as the time of those before tells."""
        share = (self.number + percent / 100) / self.job.count
        if self.job.count > 1 and secondsLeft is not None and share > 0:
            elapsed = time.monotonic() - self._started
            secondsLeft = elapsed * (1 - share) / share
        self.observer.onProgress(stage, 100 * share, secondsLeft)

    def onLog(self, level: str, message: str) -> None:
        self.observer.onLog(level, message)

    def onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        self._owner.finish(self, message, folder)

    def onError(self, failure: Failure) -> None:
        self._owner.fail(self, failure)
