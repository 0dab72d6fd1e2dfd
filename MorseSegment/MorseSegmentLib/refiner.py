"""Further questions to the field of the last image, and their answers in the scene. No Qt."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.exchange import load_segmentation
from MorseCore.geometry import Geometry
from MorseCore.protocol import Render, Request, Surface
from MorseSegmentLib.launch import Failure
from MorseSegmentLib.localwrite import LocalWriter
from MorseSegmentLib.record import SceneResult, readRecord
from MorseSegmentLib.replace import ResultReplacer
from MorseSegmentLib.runner import Task, WorkerRunner
from MorseSegmentLib.surface import SurfaceWriter, extractSurface
from MorseSegmentLib.undo import UndoStack

__all__ = ["Refiner", "RefineObserver"]


class RefineObserver(Protocol):
    """Who watches. Either onRefined or onRefineFailed is called, once."""

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None: ...

    def onRefined(self, text: str, shown: SceneResult) -> None:
        """``shown`` is the result to look at from now on."""

    def onRefineFailed(self, failure: Failure) -> None: ...


class Refiner:
    """One question at a time; each answer can be taken back.

    Example::

        refiner = Refiner(slicer.mrmlScene, runner)
        refiner.renderBox(shown, "-10,10,-5,5,0,20", points=4096, passes=2, observer=panel)
        refiner.undo.undo()
    """

    def __init__(self, scene: vtk.vtkObject, runner: WorkerRunner) -> None:
        self._scene, self._runner = scene, runner
        self.undo = UndoStack()
        self._question: _Question | None = None
        self._tag = scene.AddObserver(scene.StartCloseEvent, self._onStartClose)

    @property
    def isBusy(self) -> bool:
        """Whether an answer is awaited."""
        return self._question is not None

    def renderBox(
        self, shown: SceneResult, box: str, *, points: int, passes: int, observer: RefineObserver
    ) -> None:
        """Render inside a box again, and write what is different into the refined masks."""

        def apply(message: Mapping[str, Any], folder: Path) -> tuple[str, SceneResult]:
            block = load_segmentation(folder, message)
            writer = LocalWriter(self._scene, shown, self.undo)
            changed = writer.write(np.asarray(block.refined), block.geometry)
            return f"{changed} voxels were changed.", shown

        self._ask(
            lambda task: Render(
                id=task.number, output=str(task.folder), box=box, points=points, passes=passes
            ),
            apply,
            observer,
        )

    def renderWhole(
        self, shown: SceneResult, *, scale: int, points: int, passes: int, observer: RefineObserver
    ) -> None:
        """Render everything again, on a grid ``scale`` times finer; the former result is hidden."""
        record = readRecord(self._scene, shown)

        def apply(message: Mapping[str, Any], folder: Path) -> tuple[str, SceneResult]:
            result = load_segmentation(folder, message)
            volumeNode = self._scene.GetNodeByID(record.input) if record.input else None
            name = f"{record.name} x{scale}"
            new = ResultReplacer(self._scene, self.undo).replace(
                shown, result, volumeNode, name=name
            )
            return f"'{name}' is shown instead.", new

        self._ask(
            lambda task: Render(
                id=task.number, output=str(task.folder), points=points, passes=passes, scale=scale
            ),
            apply,
            observer,
        )

    def addSurface(
        self, shown: SceneResult, structure: int, *, scale: int, observer: RefineObserver
    ) -> None:
        """Add the surface of a structure's probability as a model node."""

        def apply(message: Mapping[str, Any], folder: Path) -> tuple[str, SceneResult]:
            file, grid = str(message["probability"]), message["geometry"]
            if Path(file).name != file:
                raise MorseError(f"'{file}' is not a plain file name.")
            probability = np.load(folder / file, allow_pickle=False)
            geometry = Geometry(tuple(grid["shape"]), np.asarray(grid["ijk_to_ras"]))
            vertices, triangles = extractSurface(probability, geometry)
            SurfaceWriter(self._scene, shown, self.undo).add(vertices, triangles, structure)
            return f"A surface of {len(triangles)} triangles was added.", shown

        self._ask(
            lambda task: Surface(
                id=task.number, output=str(task.folder), structure=structure, scale=scale
            ),
            apply,
            observer,
        )

    def cancel(self) -> None:
        """Stop the question; the field stays if the worker listens."""
        if self._question is not None and self._question.task is not None:
            self._runner.cancel(self._question.task)

    def close(self) -> None:
        """Listen to nothing any more."""
        self._scene.RemoveObserver(self._tag)

    def _onStartClose(self, *_event: Any) -> None:
        self.cancel()
        self.undo.clear()

    def _ask(
        self,
        makeRequest: Callable[[Task], Request],
        apply: Callable[[Mapping[str, Any], Path], tuple[str, SceneResult]],
        observer: RefineObserver,
    ) -> None:
        if self._question is not None:
            raise MorseError("The worker is busy with another question.")
        question = _Question(self._answered, apply, observer)
        task = self._runner.open(question)
        question.task, self._question = task, question
        self._runner.send(makeRequest(task))

    def _answered(self) -> None:
        self._question = None


class _Question:
    """Listens to the runner for one request."""

    def __init__(
        self,
        answered: Callable[[], None],
        apply: Callable[[Mapping[str, Any], Path], tuple[str, SceneResult]],
        observer: RefineObserver,
    ) -> None:
        self._answered, self._apply, self._observer = answered, apply, observer
        self.task: Task | None = None

    def onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        self._observer.onProgress(stage, percent, secondsLeft)

    def onLog(self, level: str, message: str) -> None:
        """The run's log is elsewhere."""

    def onResult(self, message: Mapping[str, Any], folder: Path) -> None:
        text, shown = self._apply(message, folder)
        self._answered()
        self._observer.onRefined(text, shown)

    def onError(self, failure: Failure) -> None:
        self._answered()
        self._observer.onRefineFailed(failure)
