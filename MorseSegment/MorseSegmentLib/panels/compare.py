"""Compare: coarse, refined or both; what the rendering changed in each structure."""

from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.compare import COLUMNS, VIEWS, nextView, rows, showView
from MorseSegmentLib.difference import DifferenceView
from MorseSegmentLib.panels.slots import blocked, connect
from MorseSegmentLib.record import SceneResult, readRecord
from MorseSegmentLib.state import ModuleState

__all__ = ["ComparePanel"]

_KEY = "F8"


class ComparePanel:
    """Views and table of the result that is looked at."""

    def __init__(self, ui: Any, state: ModuleState) -> None:
        self._ui, self._state = ui, state
        self._applied: tuple[str, str] | None = None
        self._tabled: str | None = None
        self._shortcut: Any = None
        self._buttons = dict(
            zip(VIEWS, (ui.coarseViewButton, ui.bothViewButton, ui.refinedViewButton), strict=True)
        )
        for view, button in self._buttons.items():
            connect(button, "clicked()", lambda view=view: self._choose(view))
        connect(ui.differenceCheckBox, "toggled(bool)", self._onDifference)
        connect(ui.segmentEditorButton, "clicked()", self._onSegmentEditor)
        connect(ui.statisticsButton, "clicked()", self._onStatistics)
        ui.structureTable.setColumnCount(len(COLUMNS))
        ui.structureTable.setHorizontalHeaderLabels(list(COLUMNS))
        state.onChange(self.refresh)
        self.refresh()

    def enter(self, window: Any) -> None:
        """The key works while the module is in front.

        :param window: the widget in which the key is heard.
        """
        if self._shortcut is None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(_KEY), window)
            connect(self._shortcut, "activated()", self.flip)

    def exit(self) -> None:
        """The key is free for others again."""
        if self._shortcut is not None:
            self._shortcut.setParent(None)
            self._shortcut.delete()
            self._shortcut = None

    def flip(self) -> None:
        """Show the next of the three views."""
        if self._state.shown is not None:
            self._choose(nextView(self._state.parameters.view))

    def refresh(self) -> None:
        """Show what the state holds."""
        shown, view = self._state.shown, self._state.parameters.view
        for button in (*self._buttons.values(), self._ui.segmentEditorButton):
            button.enabled = shown is not None
        for widget in (self._ui.statisticsButton, self._ui.differenceCheckBox):
            widget.enabled = shown is not None
        with blocked(*self._buttons.values(), self._ui.differenceCheckBox):
            self._buttons[view].checked = True
            self._ui.differenceCheckBox.checked = self._hasDifference(shown)
        if shown is not None and self._applied != (shown.record, view):
            showView(self._state.scene, shown, view)
            self._applied = (shown.record, view)
        self._fillTable(shown)

    def _choose(self, view: str) -> None:
        self._state.set(replace(self._state.parameters, view=view))

    def _hasDifference(self, shown: SceneResult | None) -> bool:
        return shown is not None and DifferenceView(self._state.scene, shown).nodeID is not None

    def _onDifference(self, on: bool) -> None:
        shown = self._state.shown
        if shown is None:
            return
        difference = DifferenceView(self._state.scene, shown)
        if on:
            difference.show()
        else:
            difference.hide()

    def _fillTable(self, shown: SceneResult | None) -> None:
        record = shown.record if shown is not None else ""
        if record == self._tabled:
            return
        self._tabled = record
        table = self._ui.structureTable
        lines = []
        if shown is not None:
            try:
                lines = rows(readRecord(self._state.scene, shown).report.get("structures", []))
            except (MorseError, KeyError):  # a result of another version has no such report
                lines = []
        table.setRowCount(len(lines))
        for row, line in enumerate(lines):
            for column, text in enumerate(line):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def _onSegmentEditor(self) -> None:
        refined, volume = self._nodes()
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(refined)
        if volume is not None:
            editor.setSourceVolumeNode(volume)

    def _onStatistics(self) -> None:
        refined, volume = self._nodes()
        slicer.util.selectModule("SegmentStatistics")
        widget = slicer.util.getModuleWidget("SegmentStatistics")
        widget.segmentationSelector.setCurrentNode(refined)
        if volume is not None:
            widget.scalarSelector.setCurrentNode(volume)

    def _nodes(self) -> tuple[Any, Any]:
        """The refined mask and the segmented volume, if they are in the scene."""
        shown, scene = self._state.shown, self._state.scene
        if shown is None:
            raise MorseError(_("There is no result in the scene."))
        source = readRecord(scene, shown).input
        return scene.GetNodeByID(shown.refined), scene.GetNodeByID(source) if source else None
