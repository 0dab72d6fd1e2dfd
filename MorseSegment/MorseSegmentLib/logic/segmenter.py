"""One run: from a volume in the scene to a result in the scene, or to one error message. No Qt."""

import shutil
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import vtk

from MorseCore.errors import MorseError
from MorseCore.service.exchange import load_segmentation
from MorseCore.service.protocol import Segment
from MorseCore.system.files import replace_patiently
from MorseSegmentLib.logic.inputs import readVolume, writeInSteps
from MorseSegmentLib.logic.jobs import AllFrames, Job, OneVolume
from MorseSegmentLib.logic.sequences import findSequence
from MorseSegmentLib.scene.groups import withoutGroups
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.stepping import StepRunner, Steps, removed
from MorseSegmentLib.worker.launch import CANCELLED, Failure
from MorseSegmentLib.worker.runner import Task, WorkerRunner
from MorseSegmentLib.worker.signals import Signals

__all__ = ["Segmenter", "whyNot"]

_IMAGE = "image.npy"


def whyNot(volumeNode: vtk.vtkObject | None) -> str:
    """Why a volume cannot be segmented, for a person; empty if it can."""
    try:
        readVolume(volumeNode)
    except MorseError as error:
        return str(error)
    return ""


@dataclass
class _OngoingRun:
    """A run that is going on, and how far it is."""

    job: Job
    options: Mapping[str, Any]
    started: float
    leftOut: Collection[str] = ()
    """Groups of structures that are not imported."""
    number: int = 0
    """Of the image, from 0."""
    task: Task | None = None
    """The worker's; None between two images."""
    folder: Path | None = None
    """Holds the arrays of the answer that is being looked at."""
    isFinishing: bool = False
    """Whether all images are done, and the result is being put into the scene."""

    def dropFolder(self) -> None:
        """Remove what the worker wrote."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def overall(self, percent: float, secondsLeft: float | None) -> tuple[float, float | None]:
        """Progress of all images, as far as the time of those before tells."""
        share = (self.number + percent / 100) / self.job.count
        if self.job.count > 1 and secondsLeft is not None and share > 0:
            elapsed = time.monotonic() - self.started
            secondsLeft = elapsed * (1 - share) / share
        return 100 * share, secondsLeft

    def explained(self, failure: Failure) -> Failure:
        """With the frame in which it happened."""
        if self.job.count == 1 or failure.kind == CANCELLED.kind:
            return failure
        title = self.job.title(self.number)
        return replace(failure, message=f"{title}: {failure.message} No result was added.")


class Segmenter:
    """Runs one segmentation at a time.

    Example::

        segmenter = Segmenter(slicer.mrmlScene, runner, later=lambda f: qt.QTimer.singleShot(0, f))
        segmenter.signals.connect("finished", panel.show)
        segmenter.start(volumeNode, {"model": "hippocampus-t1"})
        segmenter.cancel()

    Signals: ``progress`` (stage, percent, seconds left or None), ``log`` (level, message), and at
    the end of each run one of ``finished`` (a :class:`SceneResult`) and ``failed`` (a
    :class:`~MorseSegmentLib.worker.launch.Failure`), once.

    :param later: calls a function in the next turn of the event loop.
    """

    def __init__(
        self,
        scene: vtk.vtkObject,
        runner: WorkerRunner,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._scene, self._runner, self._later = scene, runner, later
        self._showing, self._clearing = StepRunner(later), StepRunner(later, turn=0)
        self.signals = Signals("progress", "log", "finished", "failed")
        self._run: _OngoingRun | None = None
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
        """Whether the worker still holds the field of a result, so that it can be refined."""
        worker = self._runner.worker
        return (
            worker is not None
            and worker == self._fieldWorker
            and (shown.record in self._fieldRecords)
        )

    def keepField(self, shown: SceneResult) -> None:
        """Remember that another result was made from the same field."""
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
        *,
        allFrames: bool = False,
        leftOut: Collection[str] = (),
    ) -> None:
        """Segment a volume.

        :param options: of the request: ``model``, and if wanted ``device``, ``roi``, ``points``,
            ``passes``.
        :param allFrames: of a volume that shows a frame of a sequence: segment every frame. Either
            all of them get a result, or none does.
        :param leftOut: groups of structures that do not come into the scene.
        :raises MorseError: if the volume cannot be segmented or a run is going on.
        """
        if self.isBusy:
            raise MorseError("A run is already in progress.")
        sequence = findSequence(self._scene, volumeNode) if allFrames else None
        if sequence is None:
            job: Job = OneVolume(self._scene, volumeNode)
        else:
            job = AllFrames(self._scene, sequence, volumeNode)
        self._fieldWorker = None  # the worker keeps one
        self._begin(_OngoingRun(job, dict(options), time.monotonic(), leftOut))

    def _begin(self, run: _OngoingRun) -> None:
        """Hand the run's next image over, and ask the worker."""
        volume = run.job.read(run.number)
        task = self._runner.open()
        task.signals.connect("progress", partial(self._onProgress, run))
        task.signals.connect("log", partial(self.signals.emit, "log"))
        task.signals.connect("result", partial(self._onResult, run))
        task.signals.connect("failed", partial(self._onFailed, run))
        path = task.folder / _IMAGE
        request = Segment(
            id=task.number, image=str(path), ijk_to_ras=volume.matrix, output=str(task.folder),
            name=volume.name, modality=volume.modality, **run.options,
        )  # fmt: skip
        self._run, run.task = run, task
        self._write(run, task, request, writeInSteps(path, volume.array))

    def cancel(self) -> None:
        """Stop the run; ``failed`` follows as soon as the worker has stopped."""
        run = self._run
        if run is not None and run.task is not None:
            self._runner.cancel(run.task)
        elif run is not None and not (run.isFinishing and self._showing.isAtItsEnd):
            # Between two frames, or while the result is put into the scene; once it is there,
            # ``finished`` follows.
            self._abort(CANCELLED)

    def close(self) -> None:
        """End the run silently, and stop listening."""
        self._drop()
        self._clearing.stop()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []
        self.signals.disconnectAll()

    def _write(self, run: _OngoingRun, task: Task, request: Segment, steps: Steps[None]) -> None:
        if self._run is not run:  # it was ended meanwhile
            steps.close()
            return
        try:
            next(steps)
        except StopIteration:
            self._runner.send(request)
        except OSError as error:
            place = task.folder.parent
            self._abort(
                Failure(f"The image could not be written for the worker in '{place}': {error}.")
            )
        else:
            self._later(lambda: self._write(run, task, request, steps))

    def _abort(self, failure: Failure) -> None:
        """End the worker and the run at once."""
        run = self._run
        self._drop()
        if run is not None:
            self.signals.emit("failed", failure)

    def _drop(self) -> None:
        run, self._run = self._run, None
        self._showing.stop()
        self._runner.stop()
        if run is not None:
            run.dropFolder()

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

    def _onProgress(
        self, run: _OngoingRun, stage: str, percent: float, secondsLeft: float | None
    ) -> None:
        self.signals.emit("progress", stage, *run.overall(percent, secondsLeft))

    def _onResult(self, run: _OngoingRun, message: Mapping[str, Any], folder: Path) -> None:
        """Take the image's result; after the last one, show all."""
        run.task = None
        run.dropFolder()  # of the frame before
        # The runner removes its folder when this returns; the masks are still read from it.
        run.folder = folder.with_name(f"{folder.name}-answer")
        replace_patiently(folder, run.folder)
        result = load_segmentation(run.folder, message)
        self._showing.start(
            run.job.takeInSteps(run.number, withoutGroups(result, run.leftOut)),
            lambda _: self._onTaken(run),
            partial(self._onNotShown, run),
        )

    def _onTaken(self, run: _OngoingRun) -> None:
        if run.job.count > 1:
            self.signals.emit("log", "info", f"{run.job.title(run.number)} is done.")
        if run.number + 1 < run.job.count:
            run.number += 1
            # Not now: this may be within a slot of the worker, which has a folder to clear.
            self._later(lambda: self._continue(run))
            return
        run.isFinishing = True
        self.signals.emit("progress", "show", 100.0, None)
        self._showing.start(
            run.job.finishInSteps(), partial(self._onShown, run), partial(self._onNotShown, run)
        )

    def _onShown(self, run: _OngoingRun, shown: SceneResult) -> None:
        self._run = None
        if run.folder is not None:
            self._clearing.start(removed(run.folder), lambda _: None, lambda _: None)
        if run.job.keepsField:
            self._fieldWorker, self._fieldRecords = self._runner.worker, {shown.record}
        self.signals.emit("finished", shown)

    def _onNotShown(self, run: _OngoingRun, error: Exception) -> None:
        self._run = None
        run.dropFolder()
        detail = "".join(traceback.format_exception(error))
        self.signals.emit("failed", Failure(f"The result could not be shown: {error}", detail))

    def _continue(self, run: _OngoingRun) -> None:
        if self._run is not run:
            return
        try:
            self._begin(run)
        except (MorseError, OSError) as error:
            self._abort(run.explained(Failure(str(error))))

    def _onFailed(self, run: _OngoingRun, failure: Failure) -> None:
        """End the run; after a cancel, the worker with it."""
        if self._run is not run:
            return  # it was ended here, and the worker with it
        self._run = None
        run.dropFolder()
        if failure.kind == CANCELLED.kind:
            self._runner.stop()
        self.signals.emit("failed", run.explained(failure))
