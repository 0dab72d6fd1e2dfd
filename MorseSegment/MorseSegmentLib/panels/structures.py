"""Structures: groups of them, shown or hidden, imported or not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import blocked, cell, connect, setColumns
from MorseSegmentLib.scene.groups import OTHERS, groupOf, isGroupShown, showGroup
from MorseSegmentLib.scene.record import readRecord
from MorseSegmentLib.worker.catalog import Model

__all__ = ["StructuresPanel"]

_NAME, _SHOW, _IMPORT = range(3)


class StructuresPanel:
    """A line for each group of the shown result and of the chosen model.

    :param chosenModel: gives the model, if one is chosen that can be used.
    """

    def __init__(
        self, ui: Any, state: ModuleState, chosenModel: Callable[[], Model | None]
    ) -> None:
        self._ui, self._state, self._chosenModel = ui, state, chosenModel
        self._titles = {
            "cortex": _("Cortex"),
            "white matter": _("White matter"),
            "deep nuclei": _("Deep nuclei"),
            "hippocampus": _("Hippocampus and amygdala"),
            "ventricles": _("Ventricles and fluid"),
            "cerebellum": _("Cerebellum"),
            "brain stem": _("Brain stem"),
            OTHERS: _("Others"),
        }
        self._groups: list[str] = []  # by line
        setColumns(ui.groupTable, (_("Group"), _("Show"), _("Import")), elastic=(_NAME,))
        connect(ui.groupTable, "itemChanged(QTableWidgetItem*)", self._onItem)
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the state."""
        shown = self._state.shown
        known = self._membersOfResult()
        model = self._chosenModel()
        ofModel = [] if model is None else [groupOf(name) for name in model.structures]
        groups = [g for g in self._titles if g in known or g in ofModel]
        with blocked(self._ui.groupTable):
            if groups != self._groups:
                self._list(groups)
            for line, group in enumerate(groups):
                names = known.get(group) or [n for n in model.structures if groupOf(n) == group]
                self._item(line, _NAME).setToolTip(", ".join(names))
                visible = None if shown is None else isGroupShown(self._state.scene, shown, group)
                _tick(self._item(line, _SHOW), visible)
                wanted = group not in self._leftOut() if group in ofModel else None
                _tick(self._item(line, _IMPORT), wanted)
        self._ui.groupLabel.text = _("Choose a model, or load a result.") if not groups else ""
        self._ui.groupLabel.visible = not groups

    def _list(self, groups: list[str]) -> None:
        """Make the lines anew; later they are only ticked, as one of them may be telling it."""
        self._groups = groups
        self._ui.groupTable.setRowCount(len(groups))
        for line, group in enumerate(groups):
            for column, text in ((_NAME, self._titles[group]), (_SHOW, ""), (_IMPORT, "")):
                self._ui.groupTable.setItem(line, column, cell(text))

    def _item(self, line: int, column: int) -> Any:
        return self._ui.groupTable.item(line, column)

    def _leftOut(self) -> set[str]:
        return set(filter(None, self._state.parameters.leftOut.split(",")))

    def _membersOfResult(self) -> dict[str, list[str]]:
        """Names of the shown result's structures by group."""
        shown, members = self._state.shown, {}
        try:
            found = () if shown is None else readRecord(self._state.scene, shown).structures
        except MorseError:  # of another version
            found = ()
        for structure in found:
            group = groupOf(structure.name, structure.terminology)
            members.setdefault(group, []).append(structure.name)
        return members

    def _onItem(self, item: Any) -> None:
        group, checked = self._groups[item.row()], item.checkState() == qt.Qt.Checked
        shown = self._state.shown
        if item.column() == _SHOW and shown is not None:
            showGroup(self._state.scene, shown, group, checked)
        elif item.column() == _IMPORT:
            leftOut = self._leftOut() - {group} if checked else self._leftOut() | {group}
            text = ",".join(sorted(leftOut))
            self._state.set(replace(self._state.parameters, leftOut=text))


def _tick(item: Any, on: bool | None) -> None:
    """Tick a box or not; None: there is nothing to choose."""
    if on is None:
        item.setFlags(qt.Qt.NoItemFlags)
    else:
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)
