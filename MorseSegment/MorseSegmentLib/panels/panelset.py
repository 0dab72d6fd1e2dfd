"""All panels of the module with what they share; made once for a widget."""

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseSegmentLib.logic.parameters import isFromNewerVersion
from MorseSegmentLib.logic.segmenter import Segmenter
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.compare import ComparePanel
from MorseSegmentLib.panels.environment import EnvironmentPanel
from MorseSegmentLib.panels.input import InputPanel
from MorseSegmentLib.panels.points import PointsPanel
from MorseSegmentLib.panels.refine import RefinePanel
from MorseSegmentLib.panels.run import RunPanel
from MorseSegmentLib.panels.structures import StructuresPanel
from MorseSegmentLib.panels.verdict import VerdictPanel
from MorseSegmentLib.panels.widgets import showError
from MorseSegmentLib.refine.refiner import Refiner
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.stepping import StepRunner
from MorseSegmentLib.scene.views import goTo
from MorseSegmentLib.worker.catalog import Catalog, Describer
from MorseSegmentLib.worker.launch import Failure, workerCommand
from MorseSegmentLib.worker.modelimport import ModelImport
from MorseSegmentLib.worker.qprocess import QProcessRunner

__all__ = ["PanelSet"]

_BY_THE_PERSON = {"Cancelled", "InputRemoved", "NodeRemoved", "SceneClosed"}  # who knows it


class PanelSet:
    """Connects the widgets of the .ui file with a worker and the scene.

    :param ui: the widgets by name, from slicer.util.childWidgetVariables.
    :param logic: the module's logic.
    """

    def __init__(self, ui: Any, logic: Any) -> None:
        self._ui, self._logic = ui, logic
        scene, command = slicer.mrmlScene, workerCommand()
        self.state = ModuleState(scene)
        self.runner = QProcessRunner(command, slicer.app.temporaryPath)
        self.segmenter = Segmenter(scene, self.runner, lambda f: qt.QTimer.singleShot(0, f))
        self._describer = Describer(self.runner)
        self._describer.signals.connect("answered", self._onCatalog)
        self._describer.signals.connect("failed", self._onNotDescribed)
        self._models = ModelImport(command)
        self._models.signals.connect("imported", self._onImported)
        self._models.signals.connect("failed", self._onNotImported)
        self.input = InputPanel(ui, self.state, self._models.start, self._onLoadFolder)
        self.run = RunPanel(
            ui, self.state, self.segmenter, lambda: self.input.model, self.tell, self._present
        )
        self.verdict = VerdictPanel(ui, self.state)
        self.structures = StructuresPanel(ui, self.state, lambda: self.input.model)
        self.compare = ComparePanel(ui, self.state)
        self.points = PointsPanel(ui, self.state)
        # After 1 ms: what the person does, and the views that draw it, come first.
        self.refiner = Refiner(scene, self.runner, lambda f: qt.QTimer.singleShot(1, f))
        self.refine = RefinePanel(
            ui, self.state, self.refiner,
            segmenter=self.segmenter, modelOf=self.input.modelOf, tell=self.tell,
        )  # fmt: skip
        self.environment = EnvironmentPanel(ui, self._describer.ask, stop=self.runner.stop)
        self._loading = StepRunner(lambda f: qt.QTimer.singleShot(1, f))
        self._hasCatalog = False
        self._subject: SceneResult | None = None  # of the sentence above the panels
        self.state.signals.connect("changed", self._onChanged)
        self.state.signals.connect("closing", self._onStartClose)
        if isFromNewerVersion(self.state.node):
            self.tell(
                _("The scene was saved by a newer MorseSegment; some settings are unknown."), None
            )

    def enter(self, window: Any) -> None:
        """The module comes to the front: its key works, and the worker says what there is."""
        self.compare.enter(window)
        self.points.enter()
        self.input.proposeVolume()
        if not self._hasCatalog:
            self._describer.ask()

    def exit(self) -> None:
        """Another module comes to the front; a run goes on."""
        self.compare.exit()
        self.points.exit()

    def close(self) -> None:
        """End the worker and listen to nothing any more."""
        self.exit()
        self._loading.stop()
        self.input.close()
        self.run.close()
        self.verdict.close()
        self.compare.close()
        self.points.close()
        self.state.close()
        self._models.stop()
        self.refiner.close()
        self.segmenter.close()

    def tell(self, text: str, failure: Failure | None, about: SceneResult | None = None) -> None:
        """Show a sentence above the panels; an error also in a dialog with its details.

        Beside a refusal that can be overruled stands a button instead, see :class:`RunPanel`.

        :param about: a result, with which the sentence goes.
        """
        self._subject = about
        self._ui.messageLabel.text = text
        self._ui.messageLabel.visible = bool(text)
        canOverrule = failure is not None and bool(failure.accept)
        self._ui.acceptButton.visible = canOverrule
        if failure is not None and failure.kind not in _BY_THE_PERSON and not canOverrule:
            # Later: a dialog runs an event loop, and this may be within a slot of the process.
            qt.QTimer.singleShot(0, lambda: _showError(failure))

    def _present(self, shown: SceneResult) -> None:
        """Let the views go to a new result, and 3D show its surfaces with the points.

        In the next turn: the panels have just read the result, which takes a tenth of a second.
        """

        def go() -> None:
            if self.state.isOpen and self.state.scene.GetNodeByID(shown.record) is not None:
                goTo(self.state.scene, shown)
                self.refiner.showSurfaces(shown)

        qt.QTimer.singleShot(0, go)

    def _onChanged(self) -> None:
        about = self._subject
        if about is not None and self.state.scene.GetNodeByID(about.record) is None:
            self.tell("", None)

    def _onCatalog(self, catalog: Catalog) -> None:
        self._hasCatalog = True
        self.environment.setFailure(None)
        self.input.setCatalog(catalog)
        self.run.setCatalog(catalog)
        self.structures.refresh()
        self.environment.setCatalog(catalog)

    def _onNotDescribed(self, failure: Failure) -> None:
        self.environment.setFailure(failure)
        self.tell(failure.message, None)

    def _onImported(self) -> None:
        self.tell(_("The model was imported."), None)
        self._describer.ask()

    def _onNotImported(self, failure: Failure) -> None:
        self.tell(failure.message, failure)
        self._describer.ask()

    def _onLoadFolder(self, folder: str) -> None:
        volume = slicer.mrmlScene.GetNodeByID(self.state.parameters.inputVolume)
        name = Path(folder).name

        def done(shown: SceneResult) -> None:
            self._present(shown)
            self.tell(_("Shown: {name}").format(name=name), None, shown)

        def failed(error: Exception) -> None:
            self.tell("", None)
            showError(error)

        self.tell(_("Loading {name}...").format(name=name), None)
        steps = self._logic.showResultFolderInSteps(Path(folder), volume)
        self._loading.start(steps, done, failed)

    def _onStartClose(self) -> None:
        if self._loading.isBusy:
            self._loading.stop()
            self.tell("", None)


def _showError(failure: Failure) -> None:
    slicer.util.errorDisplay(failure.message, detailedText=failure.detail)
