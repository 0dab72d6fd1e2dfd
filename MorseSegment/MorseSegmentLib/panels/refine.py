"""Refine further: a box again, the whole again and finer, a surface; each with undo."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.inputs import regionText
from MorseSegmentLib.logic.segmenter import Segmenter
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import NodeSelector, blocked, connect, fillCombo, placeNewBoxes
from MorseSegmentLib.refine.refiner import Refiner
from MorseSegmentLib.refine.undo import TakenBack
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.worker.catalog import Model
from MorseSegmentLib.worker.launch import Failure

__all__ = ["RefinePanel"]

_SCALES = (1, 2, 3, 4)


class RefinePanel:
    """Refines the result that the panels show.

    :param segmenter: knows for which results the worker still holds the field.
    :param modelOf: the model of a name, if there is one that can be used.
    :param tell: shows a sentence above the panels; an error with its details.
    """

    def __init__(
        self,
        ui: Any,
        state: ModuleState,
        refiner: Refiner,
        *,
        segmenter: Segmenter,
        modelOf: Callable[[str], Model | None],
        tell: Callable[[str, Failure | None], None],
    ) -> None:
        self._ui, self._state, self._refiner = ui, state, refiner
        self._segmenter, self._modelOf, self._tell = segmenter, modelOf, tell
        self._listed = ""
        self._box = NodeSelector(ui.boxSelector, state, "refineBox")
        placeNewBoxes(ui.boxSelector, state)
        fillCombo(ui.scaleSelector, [(f"x {scale}", scale) for scale in _SCALES], 2)
        connect(ui.refineQualitySlider, "valueChanged(double)", self._onQuality)
        connect(ui.scaleSelector, "currentIndexChanged(int)", self._onScale)
        connect(ui.renderBoxButton, "clicked()", self._onBox)
        connect(ui.renderWholeButton, "clicked()", self._onWhole)
        connect(ui.surfaceButton, "clicked()", self._onSurface)
        connect(ui.cancelRefineButton, "clicked()", self._refiner.cancel)
        connect(ui.undoButton, "clicked()", self._onUndo)
        refiner.signals.connect("progress", self._onProgress)
        refiner.signals.connect("refined", self._onRefined)
        refiner.signals.connect("takenBack", self._onTakenBack)
        refiner.signals.connect("failed", self._onFailed)
        connect(ui.segmentButton, "clicked()", self.refresh)  # a run takes the worker's field
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the state, and enable what can be done."""
        ui, parameters, shown = self._ui, self._state.parameters, self._state.shown
        with blocked(ui.refineQualitySlider, ui.scaleSelector):
            ui.refineQualitySlider.value = parameters.refineQuality
            ui.scaleSelector.currentIndex = ui.scaleSelector.findData(parameters.refineScale)
        self._listStructures(shown)
        busy = self._refiner.isBusy
        ready = shown is not None and self._segmenter.hasField(shown) and not busy
        for widget in (ui.renderWholeButton, ui.surfaceButton, ui.surfaceStructureSelector):
            widget.enabled = ready
        ui.renderBoxButton.enabled = ready and bool(parameters.refineBox)
        ui.cancelRefineButton.enabled = busy
        ui.refineProgressBar.visible = busy
        title = self._refiner.undo.title
        ui.undoButton.enabled = title is not None and not busy
        ui.undoButton.text = _("Undo") if title is None else _("Undo: {step}").format(step=title)
        ui.refineReasonLabel.text = "" if busy else self._whyNot(shown)
        ui.refineReasonLabel.visible = bool(ui.refineReasonLabel.text)

    def _whyNot(self, shown: SceneResult | None) -> str:
        """Why a button is grey."""
        if shown is None:
            return _("There is no result in the scene.")
        if not self._segmenter.hasField(shown):
            return _("Segment again to refine this result: the worker no longer holds it.")
        if not self._state.parameters.refineBox:
            return _("To render a box again, choose one, or create one and draw it in the views.")
        return ""

    def _onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        """Show how far it is."""
        self._ui.refineProgressBar.value = int(percent)

    def _onRefined(self, text: str, shown: SceneResult) -> None:
        """Look at the result."""
        self._segmenter.keepField(shown)
        self._look(shown)
        self._refiner.showSurfaces(shown)
        self._ui.refineLabel.text = text

    def _onFailed(self, failure: Failure) -> None:
        """Show the error; the scene is unchanged."""
        self.refresh()
        self._ui.refineLabel.text = failure.message
        self._tell(failure.message, replace(failure, accept=""))  # that is for whole runs

    def _listStructures(self, shown: SceneResult | None) -> None:
        record = "" if shown is None else shown.record
        if record == self._listed:
            return
        self._listed = record
        structures: Any = ()
        if shown is not None:
            try:
                structures = readRecord(self._state.scene, shown).structures
            except MorseError:  # of another version
                structures = ()
        fillCombo(self._ui.surfaceStructureSelector, [(s.name, s.value) for s in structures], None)
        self._ui.refineLabel.text = ""

    def _onQuality(self, value: float) -> None:
        self._state.set(replace(self._state.parameters, refineQuality=round(value)))

    def _onScale(self, row: int) -> None:
        scale = self._ui.scaleSelector.itemData(row)
        self._state.set(replace(self._state.parameters, refineScale=scale))

    def _onBox(self) -> None:
        shown, (points, passes) = self._shown(), self._rendering()
        scene, parameters = self._state.scene, self._state.parameters
        refined, roiNode = scene.GetNodeByID(shown.refined), scene.GetNodeByID(parameters.refineBox)
        source = readRecord(scene, shown).input
        # The result stands under its volume's transform, so either says where the box is.
        volumeNode = scene.GetNodeByID(source) if source else None
        box = regionText(roiNode, volumeNode or refined, check=volumeNode is not None)
        if box is None:
            raise MorseError(_("Choose a box, or create one and draw it in the views."))
        scale = parameters.refineScale
        self._refiner.renderBox(shown, box, points=points, passes=passes, scale=scale)
        self._started()

    def _onWhole(self) -> None:
        shown, (points, passes) = self._shown(), self._rendering()
        scale = self._state.parameters.refineScale
        self._refiner.renderWhole(shown, scale=scale, points=points, passes=passes)
        self._started()

    def _onSurface(self) -> None:
        ui = self._ui
        structure = ui.surfaceStructureSelector.itemData(ui.surfaceStructureSelector.currentIndex)
        scale = self._state.parameters.refineScale
        self._refiner.addSurface(self._shown(), structure, scale=scale)
        self._started()

    def _started(self) -> None:
        self._ui.refineProgressBar.value = 0
        self.refresh()
        if self._refiner.isBusy:
            self._ui.refineLabel.text = _("Computing")

    def _onUndo(self) -> None:
        self._refiner.takeBack()
        self.refresh()

    def _onTakenBack(self, back: TakenBack) -> None:
        self._look(back.look)
        self._ui.refineLabel.text = (
            _("Undone: {step}. {note}").format(step=back.title, note=back.note).strip()
        )

    def _look(self, shown: SceneResult | None) -> None:
        """Let all panels show a result, which may be the same with other voxels and points."""
        before = parameters = self._state.parameters
        if shown is not None and self._state.scene.GetNodeByID(shown.record) is not None:
            parameters = replace(before, result=shown.record)
        if parameters != before:
            self._state.set(parameters)  # which tells the panels; twice takes a tenth of a second
        else:
            self._state.changed()

    def _shown(self) -> SceneResult:
        shown = self._state.shown
        if shown is None or not self._segmenter.hasField(shown):
            raise MorseError(self._whyNot(shown))
        return shown

    def _rendering(self) -> tuple[int, int]:
        """Points and passes of the chosen quality, for the model that made the result."""
        report = readRecord(self._state.scene, self._shown()).report
        name = report.get("model", {}).get("name", "")
        model = self._modelOf(name)
        if model is None:
            raise MorseError(
                _("The model '{name}' that made this result is not installed.").format(name=name)
            )
        return model.rendering(self._state.parameters.refineQuality)
