"""Input: the volume, its frames, a region of it, and the model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseSegmentLib.logic.inputs import SAMPLE, activeVolumeID
from MorseSegmentLib.logic.sequences import findSequence
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import NodeSelector, blocked, connect, fillCombo, placeNewBoxes
from MorseSegmentLib.scene.regions import RegionWatch, regionIDs
from MorseSegmentLib.worker.catalog import Catalog, Model

__all__ = ["InputPanel"]

_SAMPLE_MODEL = "brain-mr"


class InputPanel:
    """Volume, region and model; the state holds the choice.

    :param importModel: called with a path; see :class:`ModelImport`.
    :param loadFolder: called with the folder of a finished result.
    """

    def __init__(
        self,
        ui: Any,
        state: ModuleState,
        importModel: Callable[[str], None],
        loadFolder: Callable[[str], None],
    ) -> None:
        self._ui, self._state = ui, state
        self._importModel, self._loadFolder = importModel, loadFolder
        self._catalog = Catalog()
        self._lastModel = ""
        self._selectors = (
            NodeSelector(ui.volumeSelector, state, "inputVolume"),
            NodeSelector(ui.regionSelector, state, "roi"),
        )
        placeNewBoxes(ui.regionSelector, state)
        self._regions = RegionWatch(state.scene, self._onMoved)
        connect(ui.framesSelector, "currentIndexChanged(int)", self._onFrames)
        connect(ui.modelSelector, "currentIndexChanged(int)", self._onModel)
        connect(ui.importModelButton, "clicked()", self._onImport)
        connect(ui.sampleButton, "clicked()", self._onSample)
        connect(ui.loadResultButton, "clicked()", self._onLoadFolder)
        state.signals.connect("changed", self.refresh)
        self.refresh()

    @property
    def model(self) -> Model | None:
        """The chosen model, if it can be used."""
        return self.modelOf(self._state.parameters.model)

    def modelOf(self, name: str) -> Model | None:
        """A model by its name, if it can be used."""
        return self._catalog.model(name)

    def setCatalog(self, catalog: Catalog) -> None:
        """Offer the worker's models, and choose the first usable one if none is chosen."""
        self._catalog = catalog
        entries = [(model.title, model.name) for model in catalog.models]
        parameters = self._state.parameters
        if catalog.model(parameters.model) is None:
            usable = [model.name for model in catalog.models if not model.problem]
            parameters = replace(parameters, model=next(iter(usable), ""))
        fillCombo(self._ui.modelSelector, entries, parameters.model)
        self._state.set(parameters)
        self.refresh()

    def proposeVolume(self) -> None:
        """If no volume is chosen yet, choose the one that the views show."""
        parameters = self._state.parameters
        if not parameters.inputVolume:
            volumeID = activeVolumeID(self._state.scene)
            self._state.set(replace(parameters, inputVolume=volumeID))
        self.refresh()  # a sequence browser may have come meanwhile

    def refresh(self) -> None:
        """Show the state; the model outlives the scene, whose end empties the settings."""
        ui, parameters = self._ui, self._state.parameters
        if not parameters.model and self._lastModel:
            self._state.set(replace(parameters, model=self._lastModel))
            return  # this was called again meanwhile
        self._lastModel = parameters.model
        with blocked(ui.modelSelector):
            ui.modelSelector.currentIndex = ui.modelSelector.findData(parameters.model)
        self._regions.look(regionIDs(self._state.scene, self._state.shown))
        ui.modelSelector.enabled = bool(self._catalog.models)
        chosen = next((m for m in self._catalog.models if m.name == parameters.model), None)
        ui.modelCardLabel.text = "" if chosen is None else chosen.problem or chosen.card
        self._refreshFrames()

    def _refreshFrames(self) -> None:
        """Offer all frames of a volume that is one of a sequence's; else there is no choice."""
        parameters, selector = self._state.parameters, self._ui.framesSelector
        sequence = findSequence(
            self._state.scene, self._state.scene.GetNodeByID(parameters.inputVolume)
        )
        entries = [(_("The current frame"), "current")]
        if sequence is not None:
            entries.append((_("All {count} frames").format(count=len(sequence)), "all"))
        fillCombo(selector, entries, parameters.frames)
        self._ui.framesLabel.visible = selector.visible = sequence is not None

    def close(self) -> None:
        """Stop listening."""
        self._regions.look([])

    def _onMoved(self, roiNode: Any) -> None:
        """A found region that a person moves is where they want to segment."""
        self._state.set(replace(self._state.parameters, roi=roiNode.GetID()))

    def _onFrames(self, row: int) -> None:
        frames = self._ui.framesSelector.itemData(row)
        self._state.set(replace(self._state.parameters, frames=frames or "current"))

    def _onModel(self, row: int) -> None:
        name = self._ui.modelSelector.itemData(row)
        self._state.set(replace(self._state.parameters, model=name or ""))

    def _onImport(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(),
            _("Model: a zip file, or model.json in a model's folder"),
            "",
            _("Models (*.zip model.json)"),
        )
        if path:
            self._importModel(path)

    def _onSample(self) -> None:
        """Load the head that comes along; *Segment* is the next thing to press."""
        volumeNode = slicer.util.loadVolume(str(SAMPLE), {"name": _("Head, T1")})
        parameters = replace(self._state.parameters, inputVolume=volumeNode.GetID(), roi="")
        if self._catalog.model(_SAMPLE_MODEL) is not None:
            parameters = replace(parameters, model=_SAMPLE_MODEL)
        self._state.set(parameters)

    def _onLoadFolder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder with report.json")
        )
        if folder:
            self._loadFolder(folder)
