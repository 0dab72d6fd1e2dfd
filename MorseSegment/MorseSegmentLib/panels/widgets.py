"""Widgets: connected so that a failing slot shows a message; and kept as the settings are."""

import traceback
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseSegmentLib.logic.inputs import fitBox
from MorseSegmentLib.logic.state import ModuleState

__all__ = [
    "NodeSelector", "blocked", "cell", "connect", "fillCombo", "placeNewBoxes", "setColumns",
    "showError",
]  # fmt: skip

_FITS = 12  # letters


def connect(widget: Any, signal: str, slot: Callable[..., None]) -> None:
    """Connect a signal, named with its types; errors of the slot are shown to the person.

    :raises RuntimeError: if the widget has no such signal.
    """

    def receive(*values: Any) -> None:
        with slicer.util.tryWithErrorDisplay(_("That did not work.")):
            slot(*values)

    if not widget.connect(signal, receive):
        raise RuntimeError(f"{widget.objectName} has no signal {signal}")


def showError(error: Exception) -> None:
    """Show an error of work that went on in later turns, as that of a slot is shown."""
    text = "{message}\n\n{error}".format(message=_("That did not work."), error=error)
    detail = "".join(traceback.format_exception(error))
    slicer.util.errorDisplay(text, detailedText=detail)


@contextmanager
def blocked(*widgets: Any) -> Any:
    """Change widgets without their signals."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, before, strict=True):
            widget.blockSignals(was)


def fillCombo(combo: Any, entries: list[tuple[str, Any]], current: Any) -> None:
    """Show entries (text, data) and choose the one that holds ``current``, else the first."""
    with blocked(combo):
        combo.clear()
        for text, data in entries:
            combo.addItem(text, data)
        combo.currentIndex = max(0, combo.findData(current))


def setColumns(table: Any, headers: Sequence[str], *, elastic: Sequence[int]) -> None:
    """Give a QTableWidget columns that always fit into it.

    :param elastic: columns of names, which share what the others leave.
    """
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(list(headers))
    header, kind = table.horizontalHeader(), qt.QHeaderView
    for column in range(len(headers)):
        mode = kind.Stretch if column in elastic else kind.ResizeToContents
        header.setSectionResizeMode(column, mode)


def cell(text: str) -> Any:
    """A QTableWidgetItem; a name that may not fit into its column is its tool tip, too."""
    item = qt.QTableWidgetItem(text)
    if len(text) > _FITS:  # a call for each of 600 cells would be noticed
        item.setToolTip(text)
    return item


def placeNewBoxes(selector: Any, state: ModuleState) -> None:
    """A box that a person creates with the selector lies in the volume from the start."""

    def place(roiNode: Any) -> None:
        volumeNode = state.scene.GetNodeByID(state.parameters.inputVolume)
        if volumeNode is not None:
            fitBox(roiNode, volumeNode)

    connect(selector, "nodeAddedByUser(vtkMRMLNode*)", place)


class NodeSelector:
    """Keeps a qMRMLNodeComboBox and a field of the parameters alike.

    :param role: name of the field, which holds a node's ID.
    """

    def __init__(self, selector: Any, state: ModuleState, role: str) -> None:
        self._selector, self._state, self._role = selector, state, role
        self._chosen = ""
        connect(selector, "currentNodeChanged(vtkMRMLNode*)", self._onNode)
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the state."""
        self._chosen = getattr(self._state.parameters, self._role)
        with blocked(self._selector):
            self._selector.setCurrentNodeID(self._chosen)
        if self._state.isImporting and not self._state.scene.IsImporting():
            # The selector may hear of the import's end after the state.
            qt.QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        if self._state.isOpen:
            self._state.settle()
            self.refresh()

    def _onNode(self, node: Any) -> None:
        if self._state.isImporting:
            # The selector makes its list anew and falls back to none, which nobody chose; what
            # the state holds is shown again when the import is over.
            return
        before = self._chosen
        gone = before and self._state.scene.GetNodeByID(before) is None
        self._write("" if node is None or gone else node.GetID())
        # When its node is removed, the selector jumps to another one, which nobody chose. It may
        # do so before the node has left the scene: look again afterwards.
        qt.QTimer.singleShot(0, lambda: self._undoJump(before))

    def _undoJump(self, before: str) -> None:
        if self._state.isOpen and before and self._state.scene.GetNodeByID(before) is None:
            self._write("")

    def _write(self, nodeID: str) -> None:
        self._state.set(replace(self._state.parameters, **{self._role: nodeID}))
        self.refresh()
