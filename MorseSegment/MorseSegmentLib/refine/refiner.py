"""Renders a box or everything again, or makes a surface, from the last image's field. No Qt."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.service.exchange import load_segmentation
from MorseCore.service.protocol import Render, Request, Surface
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.replace import ResultReplacer
from MorseSegmentLib.refine.requests import Answer, Apply, RefineRequest
from MorseSegmentLib.refine.surface import SurfaceWriter, extractInSteps
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import UndoStack
from MorseSegmentLib.scene.cropping import keepPoints
from MorseSegmentLib.scene.record import SEQUENCE, SceneResult, extraIDs, readRecord
from MorseSegmentLib.scene.stepping import Later, StepRunner, Steps
from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runner import Task, WorkerRunner
from MorseSegmentLib.worker.signals import Signals

__all__ = ["Refiner"]


class Refiner:
    """Sends one request at a time. Each answer can be undone.

    Example::

        refiner = Refiner(slicer.mrmlScene, runner, later=lambda f: qt.QTimer.singleShot(0, f))
        refiner.signals.connect("refined", panel.show)
        refiner.renderBox(shown, "-10,10,-5,5,0,20", points=4096, passes=2, scale=2)
        refiner.takeBack()

    Signals: ``progress`` (stage, percent, seconds left or None), and for each request one of
    ``refined`` (what was done, the result to look at from now on) and ``failed`` (a
    :class:`~MorseSegmentLib.worker.launch.Failure`), once. After :meth:`takeBack`, ``takenBack``
    (a :class:`~MorseSegmentLib.refine.undo.TakenBack`) or ``failed``.

    :param later: None: answers are put into the scene at once, for scripts.
    """

    def __init__(
        self, scene: vtk.vtkObject, runner: WorkerRunner, later: Later | None = None
    ) -> None:
        self._scene, self._runner, self._later = scene, runner, later
        self.undo = UndoStack()
        self._surfaces = SurfaceQueue(scene, later)
        self._request: RefineRequest | None = None
        self.signals = Signals("progress", "refined", "takenBack", "failed")
        self._undoing, self._clearing = StepRunner(later), StepRunner(later, turn=0)
        self._tags = [
            scene.AddObserver(scene.StartCloseEvent, self._onStartClose),
            scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved),
        ]

    @property
    def isBusy(self) -> bool:
        """Whether an answer is awaited, or a step is being undone."""
        return self._request is not None or self._undoing.isBusy

    def renderBox(
        self,
        shown: SceneResult,
        box: str,
        *,
        points: int,
        passes: int,
        scale: int = 1,
    ) -> None:
        """Render a box again, and write what changes into masks and points."""

        def apply(message: Mapping[str, Any], folder: Path) -> Steps[Answer]:
            block = load_segmentation(folder, message)
            imported = readRecord(self._scene, shown).structures
            found = keepPoints(block.points, (s.value for s in imported))
            writer = LocalWriter(self._scene, shown, self.undo, self._surfaces)
            count = yield from writer.writeInSteps(block.refined, block.geometry, points=found)
            return f"{count} voxels were changed; {len(found)} points were rendered.", shown

        self._send(
            shown,
            lambda task: Render(
                id=task.number, output=str(task.folder), box=box,
                points=points, passes=passes, scale=scale,
            ),
            apply,
        )  # fmt: skip

    def renderWhole(self, shown: SceneResult, *, scale: int, points: int, passes: int) -> None:
        """Render everything again, on a grid ``scale`` times finer; the former result is hidden."""
        record = readRecord(self._scene, shown)

        def apply(message: Mapping[str, Any], folder: Path) -> Steps[Answer]:
            result = load_segmentation(folder, message)
            result = replace(result, structures=record.structures)  # those that were imported
            volumeNode = self._scene.GetNodeByID(record.input) if record.input else None
            name = f"{record.name} x{scale}"
            new = yield from ResultReplacer(self._scene, self.undo).replaceInSteps(
                shown, result, volumeNode, name=name
            )
            return f"'{name}' is shown instead.", new

        self._send(
            shown,
            lambda task: Render(
                id=task.number, output=str(task.folder), points=points, passes=passes, scale=scale
            ),
            apply,
        )

    def addSurface(self, shown: SceneResult, structure: int, *, scale: int) -> None:
        """Add the surface of a structure's probability as a model node."""

        def apply(message: Mapping[str, Any], folder: Path) -> Steps[Answer]:
            probability, geometry = _probability(message, folder)
            vertices, triangles = yield from extractInSteps(probability, geometry)
            writer = SurfaceWriter(self._scene, shown, self.undo)
            yield from writer.addInSteps(vertices, triangles, structure)
            return f"A surface of {len(triangles)} triangles was added.", shown

        self._send(
            shown,
            lambda task: Surface(
                id=task.number, output=str(task.folder), structure=structure, scale=scale
            ),
            apply,
        )

    def showSurfaces(self, shown: SceneResult) -> None:
        """Let 3D views show the refined mask. Masks that follow a sequence are passed over."""
        node = self._scene.GetNodeByID(shown.refined)
        if node is not None and not extraIDs(self._scene, shown, SEQUENCE):
            self._surfaces.show(node)

    def takeBack(self) -> None:
        """Undo the last step.

        :raises MorseError: if there is none, or another request is in progress.
        """
        self._checkFree()
        if self.undo.title is None:
            raise MorseError("There is nothing to undo.")
        self._undoing.start(
            self.undo.undoInSteps(),
            partial(self.signals.emit, "takenBack"),
            lambda error: self.signals.emit(
                "failed", Failure(str(error), kind=type(error).__name__)
            ),
        )

    def cancel(self) -> None:
        """Stop the request. The worker keeps the field if it answers the cancel."""
        if self._request is not None:
            self._request.cancel()

    def close(self) -> None:
        """Stop listening."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []
        self._forget()
        if self._request is not None:
            self._request.drop()
        self._clearing.stop()
        self.signals.disconnectAll()

    def _forget(self) -> None:
        self._undoing.stop()
        self._surfaces.clear()
        self.undo.clear()

    def _onStartClose(self, *_event: Any) -> None:
        self._forget()
        if self._request is not None:
            text = "The scene was closed while its result was refined; nothing was added."
            self._request.giveUp(Failure(text, kind="SceneClosed"))

    def _onNodeRemoved(self, *_event: Any) -> None:
        if self._request is not None:
            self._request.check()

    def _send(
        self,
        shown: SceneResult,
        makeRequest: Callable[[Task], Request],
        apply: Apply,
    ) -> None:
        self._checkFree()
        record = readRecord(self._scene, shown)
        needed = dict.fromkeys(
            (shown.record, shown.refined, shown.coarse, shown.pointTable),
            f"The result '{record.name}'",
        )
        if record.input:
            needed[record.input] = f"The volume of '{record.name}'"
        request = RefineRequest(
            self._scene, self._runner, self._later,
            apply=apply, needed=needed, clearing=self._clearing,
        )  # fmt: skip
        request.signals.connect("ended", self._onEnded)
        for name in ("progress", "refined", "failed"):
            request.signals.connect(name, partial(self.signals.emit, name))
        self._request = request
        try:
            request.send(makeRequest)
        except MorseError:
            self._request = None
            raise

    def _checkFree(self) -> None:
        if self.isBusy:
            raise MorseError("The worker is busy with another request.")

    def _onEnded(self) -> None:
        self._request = None


def _probability(message: Mapping[str, Any], folder: Path) -> tuple[np.ndarray, Geometry]:
    """The worker's answer to *surface*: (K, J, I) float32, read when it is needed."""
    file, grid = str(message["probability"]), message["geometry"]
    if Path(file).name != file:
        raise MorseError(f"'{file}' is not a plain file name.")
    probability = np.load(folder / file, mmap_mode="r", allow_pickle=False)
    return probability, Geometry(tuple(grid["shape"]), np.asarray(grid["ijk_to_ras"]))
