"""One run, from the volume in the scene to the result in the scene, or to one sentence. No Qt."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import vtk

from MorseCore.errors import MorseError
from MorseCore.exchange import load_segmentation
from MorseCore.protocol import Segment
from MorseSegmentLib.inputs import InputVolume, readVolume
from MorseSegmentLib.launch import Failure
from MorseSegmentLib.record import SceneResult
from MorseSegmentLib.runner import Task, WorkerRunner
from MorseSegmentLib.scene import SceneWriter
from MorseSegmentLib.volumefile import writeInSteps

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

    def start(
        self, volumeNode: vtk.vtkObject, options: Mapping[str, Any], observer: RunObserver
    ) -> None:
        """Segment a volume.

        :param options: of the request: ``model``, and if wanted ``device``, ``roi``, ``points``,
            ``passes``.
        :raises MorseError: if the volume cannot be segmented or a run is going on.
        """
        if self.isBusy:
            raise MorseError("A run is going on already.")
        volume = readVolume(volumeNode)
        run = _Run(self, volumeNode.GetID(), volume, dict(options), observer)
        task = self._runner.open(run)
        self._fieldWorker = None  # the worker keeps one
        run.task = task
        self._run = run
        self._write(run, task, writeInSteps(task.folder / _IMAGE, volume.array))

    def cancel(self) -> None:
        """Stop the run; the observer hears of it as soon as the worker has stopped."""
        if self._run is not None and self._run.task is not None:
            self._runner.cancel(self._run.task)

    def close(self) -> None:
        """End the run without a word, and listen to nothing any more."""
        self._run = None
        self._runner.stop()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _write(self, run: "_Run", task: Task, steps: Iterator[None]) -> None:
        if self._run is not run:
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
        if run is not None and self._scene.GetNodeByID(run.volumeID) is None:
            self._abort(
                Failure(
                    f"The volume '{run.name}' was removed during the run; nothing was added.",
                    kind="InputRemoved",
                )
            )

    def _onStartClose(self, *_event: Any) -> None:
        if self._run is not None:
            self._abort(
                Failure(
                    "The scene was closed during the run; nothing was added.", kind="SceneClosed"
                )
            )

    def finish(self, run: "_Run", message: Mapping[str, Any], folder: Path) -> None:
        """Import the run's result."""
        volumeNode = self._scene.GetNodeByID(run.volumeID)
        result = load_segmentation(folder, message)
        shown = SceneWriter(self._scene).show(result, volumeNode, name=run.name)
        self._run = None
        self._fieldWorker, self._fieldRecords = self._runner.worker, {shown.record}
        run.observer.onFinished(shown)

    def fail(self, run: "_Run", failure: Failure) -> None:
        """End the run; after a cancel, the worker with it."""
        if self._run is not run:
            return  # it was ended here, and the worker with it
        self._run = None
        if failure.kind == "Cancelled":
            self._runner.stop()
        run.observer.onFailed(failure)


class _Run:
    """Listens to the runner for one request."""

    def __init__(
        self,
        owner: Segmenter,
        volumeID: str,
        volume: InputVolume,
        options: dict[str, Any],
        observer: RunObserver,
    ) -> None:
        self._owner, self._options, self.observer = owner, options, observer
        self.volumeID, self.name, self._matrix = volumeID, volume.name, volume.matrix
        self.task: Task | None = None

    def request(self, task: Task) -> Segment:
        """What the worker is asked."""
        return Segment(
            id=task.number,
            image=str(task.folder / _IMAGE),
            ijk_to_ras=self._matrix,
            output=str(task.folder),
            name=self.name,
            **self._options,
        )

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        self.observer.onProgress(stage, percent, secondsLeft)

    def onLog(self, level: str, message: str) -> None:
        self.observer.onLog(level, message)

    def onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        self._owner.finish(self, message, folder)

    def onError(self, failure: Failure) -> None:
        self._owner.fail(self, failure)
