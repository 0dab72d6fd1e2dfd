"""Run: device and quality, the button, progress and log."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseSegmentLib.logic.inputs import regionText
from MorseSegmentLib.logic.segmenter import Segmenter, whyNot
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.costs import costText, frameCount, planned
from MorseSegmentLib.panels.widgets import blocked, connect, fillCombo
from MorseSegmentLib.scene.groups import groupOf
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.scene.regions import showOutline
from MorseSegmentLib.scene.watch import NodeWatch
from MorseSegmentLib.worker.catalog import Catalog, Model
from MorseSegmentLib.worker.launch import Failure
from MorseSegmentLib.worker.runtimes import readTimes, rememberRun

__all__ = ["RunPanel"]

_PAUSE = 200  # ms without a further change of the region before its cost is told


class RunPanel:
    """Starts and cancels runs, and shows their progress.

    :param chosenModel: gives the model, if one is chosen that can be used.
    :param tell: shows a sentence above the panels; see :meth:`PanelSet.tell`.
    :param present: shows a new result in the views.
    """

    def __init__(
        self,
        ui: Any,
        state: ModuleState,
        segmenter: Segmenter,
        chosenModel: Callable[[], Model | None],
        tell: Callable[..., None],
        present: Callable[[SceneResult], None],
    ) -> None:
        self._ui, self._state, self._segmenter = ui, state, segmenter
        self._chosenModel, self._tell, self._present = chosenModel, tell, present
        self._cancelling = False
        self._asked = ("", "")  # model and device of the run
        self._accepted: tuple[str, ...] = ()  # refusals that a person overruled, for this run
        self._refusal = ""  # the one that it ended with
        self._refused = ("", "", "")  # volume, region and model of that run
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        connect(self._timer, "timeout()", self._refreshCost)
        self._region = NodeWatch(lambda: self._timer.start(_PAUSE))
        connect(ui.deviceSelector, "currentIndexChanged(int)", self._onDevice)
        connect(ui.qualitySlider, "valueChanged(double)", self._onQuality)
        connect(ui.segmentButton, "clicked()", self._onButton)
        connect(ui.acceptButton, "clicked()", self._onAccept)
        connect(ui.copyLogButton, "clicked()", self._onCopy)
        segmenter.signals.connect("progress", self._onProgress)
        segmenter.signals.connect("log", self._onLog)
        segmenter.signals.connect("finished", self._onFinished)
        segmenter.signals.connect("failed", self._onFailed)
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def setCatalog(self, catalog: Catalog) -> None:
        """Offer the worker's devices."""
        entries = [(title, name) for name, title in catalog.devices]
        fillCombo(self._ui.deviceSelector, entries, self._state.parameters.device)
        self._onDevice(self._ui.deviceSelector.currentIndex)
        self.refresh()

    def refresh(self) -> None:
        """Show the state, and enable what can be done."""
        ui, parameters = self._ui, self._state.parameters
        model, busy = self._chosenModel(), self._segmenter.isBusy
        with blocked(ui.qualitySlider, ui.deviceSelector):
            ui.qualitySlider.value = parameters.quality
            ui.deviceSelector.currentIndex = ui.deviceSelector.findData(parameters.device)
        ui.deviceSelector.enabled = model is not None and not busy
        ui.qualitySlider.enabled = model is not None and model.hasQuality and not busy
        self._region.look(self._state.scene.GetNodeByID(parameters.roi) if parameters.roi else None)
        self._refreshCost()
        reason = self._whyNot(model)
        ui.segmentButton.text = self._buttonText()
        ui.segmentButton.enabled = not self._cancelling and (busy or not reason)
        ui.reasonLabel.text = "" if busy else reason
        ui.reasonLabel.visible = bool(ui.reasonLabel.text)
        if self._state.shown is None and not busy:
            ui.stageLabel.text = ""
        if self._subject() != self._refused:  # the refusal was of something else
            ui.acceptButton.visible = False
        ui.acceptButton.enabled = ui.segmentButton.enabled and not busy
        ui.runProgressBar.visible = busy
        ui.copyLogButton.enabled = bool(ui.logEdit.plainText)

    def close(self) -> None:
        """Stop listening."""
        self._timer.stop()
        self._timer.deleteLater()  # while it lives, its slot keeps this panel
        self._region.look(None)

    def _refreshCost(self) -> None:
        """Show how long the next run takes, if that is known."""
        model, parameters, text = self._chosenModel(), self._state.parameters, ""
        if model is not None:
            times = readTimes(slicer.app.userSettings(), model.name, parameters.device)
            text = costText(
                model, parameters.quality, planned(self._state, model), times,
                frameCount(self._state),
            )  # fmt: skip
        self._ui.costLabel.text = text

    def _onProgress(self, stage: str, percent: float, secondsLeft: float | None) -> None:
        """Show how far the run is."""
        self._ui.runProgressBar.value = int(percent)
        name = {
            "prepare": _("Preparing"), "network": _("Computing"), "restore": _("Finishing"),
            "show": _("Showing the result"),
        }  # fmt: skip
        text = name.get(stage, stage)
        if self._segmenter.frame is not None:
            number, count = self._segmenter.frame
            text = _("Frame {number} of {count}: {stage}").format(
                number=number, count=count, stage=text
            )
        if secondsLeft is not None:
            text = _("{stage}, about {seconds} s left").format(
                stage=text, seconds=max(1, round(secondsLeft))
            )
        self._ui.stageLabel.text = text

    def _onLog(self, level: str, message: str) -> None:
        """Add a line to the log."""
        line = _("Warning: {text}").format(text=message) if level == "warning" else message
        self._ui.logEdit.appendPlainText(line)
        self._ui.copyLogButton.enabled = True

    def _onFinished(self, shown: SceneResult) -> None:
        """Look at the result, and remember how long it took."""
        record = readRecord(self._state.scene, shown)
        rememberRun(slicer.app.userSettings(), *self._asked, record.report)
        self._ended(_("Done."))
        self._state.set(replace(self._state.parameters, result=shown.record))
        self._present(shown)
        self._tell(_("The result is in the scene."), None, shown)

    def _onFailed(self, failure: Failure) -> None:
        """Show the error; the scene is unchanged."""
        self._refusal = failure.accept
        self._ended("")
        self._onLog("info", failure.message)
        self._tell(failure.message, failure)

    def _ended(self, text: str) -> None:
        self._cancelling = False
        self._ui.runProgressBar.value = 0
        self._ui.stageLabel.text = text
        self.refresh()

    def _buttonText(self) -> str:
        if self._cancelling:
            return _("Cancelling...")
        return _("Cancel") if self._segmenter.isBusy else _("Segment")

    def _whyNot(self, model: Model | None) -> str:
        parameters = self._state.parameters
        problem = whyNot(self._state.scene.GetNodeByID(parameters.inputVolume))
        if problem or model is None:
            return problem or _("Choose a model.")
        groups = {groupOf(name) for name in model.structures}
        if groups and groups <= set(parameters.leftOut.split(",")):
            return _(
                "Choose under Structures what to import; all that the model finds is left out."
            )
        return ""

    def _onDevice(self, row: int) -> None:
        device = self._ui.deviceSelector.itemData(row)
        self._state.set(replace(self._state.parameters, device=device or "auto"))

    def _onQuality(self, value: float) -> None:
        # The slider's decimals only change how the number looks.
        self._state.set(replace(self._state.parameters, quality=round(value)))

    def _onButton(self) -> None:
        if self._segmenter.isBusy:
            self._cancelling = True
            self.refresh()
            self._segmenter.cancel()
        else:
            self._start(())

    def _subject(self) -> tuple[str, str, str]:
        parameters = self._state.parameters
        return parameters.inputVolume, parameters.roi, parameters.model

    def _onAccept(self) -> None:
        """Run again in spite of the refusal, and of those that were overruled on the way to it."""
        self._start((*self._accepted, self._refusal))

    def _start(self, accepted: tuple[str, ...]) -> None:
        model, parameters, scene = self._chosenModel(), self._state.parameters, self._state.scene
        volumeNode = scene.GetNodeByID(parameters.inputVolume)
        reason = self._whyNot(model)
        if model is None or reason:
            self._tell(reason, None)
            return
        points, passes = model.rendering(parameters.quality)
        options = {
            "model": model.name, "device": parameters.device, "points": points, "passes": passes,
            "accept": accepted,
        }  # fmt: skip
        roiNode = scene.GetNodeByID(parameters.roi) if parameters.roi else None
        if roiNode is not None:
            showOutline(roiNode)
            options["roi"] = regionText(roiNode, volumeNode)
        self._asked = (model.name, parameters.device)
        self._accepted, self._refusal, self._refused = accepted, "", self._subject()
        self._tell("", None)
        self._ui.logEdit.plainText = ""
        self._ui.stageLabel.text = _("Starting")
        self._segmenter.start(
            volumeNode,
            options,
            allFrames=parameters.frames == "all",
            leftOut=parameters.leftOut.split(","),
        )
        self.refresh()

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._ui.logEdit.plainText)
        slicer.util.showStatusMessage(_("The log was copied."), 2000)
