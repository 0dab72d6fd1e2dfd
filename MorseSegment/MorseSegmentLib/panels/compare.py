"""Compare: coarse, refined or both; what the rendering changed in each structure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseCore.result import Structure
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import blocked, cell, connect, fillCombo, setColumns
from MorseSegmentLib.scene.changes import COLUMNS, ChangeTable
from MorseSegmentLib.scene.difference import DifferenceView
from MorseSegmentLib.scene.masks import (
    VIEWS,
    Masks,
    flippedView,
    masksInSteps,
    showView,
)
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.scene.stepping import StepRunner, Steps
from MorseSegmentLib.scene.views import jumpTo
from MorseSegmentLib.scene.watch import MaskWatch

__all__ = ["ComparePanel"]

_KEY = "F8"
_PAUSE = 300  # ms without a further change of the masks before they are measured again


class ComparePanel:
    """Views, difference and table of the result that is looked at.

    Whatever changes the masks while the module is in front – a box rendered again, an undo, a
    sequence browser – they are measured again, and the difference is made again, in short steps;
    changes made meanwhile by other modules follow as soon as the module is in front again.
    """

    def __init__(self, ui: Any, state: ModuleState) -> None:
        self._ui, self._state = ui, state
        self._applied: tuple[str, str] | None = None  # result and view
        self._listed: str | None = None  # the result of the table
        self._structures: Sequence[Structure] = ()
        self._known: dict[str, tuple[Any, list[dict[str, Any]]]] = {}  # by result: stamp, rows
        self._measured: Any = None  # stamp of the masks that the table describes
        self._differing: Any = None  # and of those of the difference
        self._wanted: bool | None = None  # a difference that is being made, or is to go
        self._imported = self._isInFront = False
        self._shortcut: Any = None
        self._watch = MaskWatch(state.scene, self._schedule)
        # Not 0 ms: what the person does, and the views that draw it, come first.
        self._steps = StepRunner(lambda f: qt.QTimer.singleShot(1, f))
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        connect(self._timer, "timeout()", self._onTimer)
        self._tag = state.scene.AddObserver(state.scene.StartImportEvent, self._onImport)
        self._buttons = dict(
            zip(VIEWS, (ui.coarseViewButton, ui.bothViewButton, ui.refinedViewButton), strict=True)
        )
        for view, button in self._buttons.items():
            connect(button, "clicked()", lambda view=view: self._choose(view))
        connect(ui.differenceCheckBox, "toggled(bool)", self._onDifference)
        connect(ui.differenceStructureSelector, "currentIndexChanged(int)", self._onStructure)
        connect(ui.segmentEditorButton, "clicked()", lambda: _openInSegmentEditor(*self._nodes()))
        connect(ui.statisticsButton, "clicked()", lambda: _openInSegmentStatistics(*self._nodes()))
        connect(ui.changesTableButton, "clicked()", self._onTableNode)
        self._table = ChangeTableView(
            ui.structureTable, onChosen=self._chooseStructure, onJump=self._jump
        )
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def enter(self, window: Any) -> None:
        """The key works, and the masks are measured, while the module is in front.

        :param window: the widget in which the key is heard.
        """
        self._isInFront = True
        self._schedule()
        if self._shortcut is None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(_KEY), window)
            connect(self._shortcut, "activated()", self.flip)

    def exit(self) -> None:
        """The key is free for others again; so is the time that measuring takes."""
        self._isInFront = False
        self._timer.stop()
        self._steps.stop()
        if self._shortcut is not None:
            self._shortcut.setParent(None)
            self._shortcut.delete()
            self._shortcut = None

    def close(self) -> None:
        """Stop listening."""
        self.exit()
        self._timer.deleteLater()  # while it lives, its slot keeps this panel
        self._watch.look(None)
        self._state.scene.RemoveObserver(self._tag)

    def flip(self) -> None:
        """Show the other mask: coarse and refined in turn."""
        if self._state.shown is not None:
            self._choose(flippedView(self._state.parameters.view))

    def refresh(self) -> None:
        """Show the state."""
        ui, shown, parameters = self._ui, self._state.shown, self._state.parameters
        self._list(shown)
        for widget in (
            *self._buttons.values(), ui.segmentEditorButton, ui.statisticsButton,
            ui.differenceCheckBox, ui.differenceStructureSelector, ui.changesTableButton,
        ):  # fmt: skip
            widget.enabled = shown is not None
        with blocked(
            *self._buttons.values(), ui.differenceCheckBox, ui.differenceStructureSelector
        ):
            self._buttons[parameters.view].checked = True
            ui.differenceCheckBox.checked = self._hasDifference(shown)
            row = ui.differenceStructureSelector.findData(parameters.compareStructure)
            ui.differenceStructureSelector.currentIndex = max(0, row)
        self._table.select(parameters.compareStructure)
        if shown is not None and self._applied != (shown.record, parameters.view):
            showView(self._state.scene, shown, parameters.view)
            self._applied = (shown.record, parameters.view)

    def _list(self, shown: SceneResult | None) -> None:
        """Take over another result: first the worker's numbers, which are there at once."""
        record = "" if shown is None else shown.record
        if record == self._listed:
            return
        self._keep()
        self._listed, self._wanted = record, None
        self._steps.stop()
        self._watch.look(shown)
        self._structures, rows = (), []
        if shown is None:
            self._known.clear()  # another scene gives the same names again
        else:
            try:
                self._structures = readRecord(self._state.scene, shown).structures
                rows = ChangeTable(self._state.scene, shown).reported()
            except MorseError as error:  # of another version
                self._onError(error)
        fresh = None if self._imported else self._watch.stamp()
        self._measured, rows = self._known.get(record, (fresh, rows))
        entries = [(_("All structures"), 0), *((s.name, s.value) for s in self._structures)]
        fillCombo(self._ui.differenceStructureSelector, entries, 0)
        self._table.show(self._structures, rows)
        if len(self._table.rows) < len(self._structures):
            self._measured = None
        self._differing = self._measured
        self._imported = False
        told = "" if shown else _("There is no result in the scene.")
        self._ui.measureLabel.text = self._table.unchangedText() or told
        self._schedule()

    def _keep(self) -> None:
        """Remember the numbers of the result that was looked at; its masks may be edited."""
        if self._listed:
            self._known[self._listed] = (self._measured, self._table.rows)

    def _choose(self, view: str) -> None:
        self._state.set(replace(self._state.parameters, view=view))

    def _chooseStructure(self, value: int) -> None:
        if value != self._state.parameters.compareStructure:
            self._state.set(replace(self._state.parameters, compareStructure=value))
            self._schedule(0)

    def _onStructure(self, row: int) -> None:
        self._chooseStructure(self._ui.differenceStructureSelector.itemData(row) or 0)

    def _jump(self, value: int) -> None:
        shown = self._state.shown
        if shown is not None and not jumpTo(self._state.scene, shown, value):
            self._ui.measureLabel.text = _("The structure is in neither mask.")

    def _structure(self) -> int | None:
        """The structure whose difference is wanted; None for all."""
        value = self._state.parameters.compareStructure
        return value if any(s.value == value for s in self._structures) else None

    def _hasDifference(self, shown: SceneResult | None) -> bool:
        if self._wanted is not None:
            return self._wanted
        return shown is not None and DifferenceView(self._state.scene, shown).nodeID is not None

    def _onDifference(self, on: bool) -> None:
        shown = self._state.shown
        if shown is None:
            return
        if on:
            self._wanted = True
            self._schedule(0)
        else:
            self._wanted = None
            self._steps.stop()
            DifferenceView(self._state.scene, shown).hide()
            self._schedule()

    def _schedule(self, pause: int = _PAUSE) -> None:
        """Look whether there is something to do, once nothing has changed for a while."""
        if self._isInFront:
            self._timer.start(pause)

    def _onImport(self, *_event: Any) -> None:
        # What is in a file may have been edited since it was measured.
        self._imported, self._listed = True, None
        self._known.clear()

    def _onTimer(self) -> None:
        shown = self._state.shown
        if shown is not None and (self._isStale() or self._differenceIsStale(shown)):
            self._steps.start(self._work(shown), lambda _done: self._schedule(), self._onError)

    def _isStale(self) -> bool:
        return self._measured != self._watch.stamp()

    def _differenceIsStale(self, shown: SceneResult) -> bool:
        if not self._hasDifference(shown):
            return False
        difference = DifferenceView(self._state.scene, shown)
        return (
            difference.nodeID is None
            or difference.structure != self._structure()
            or self._differing != self._watch.stamp()
        )

    def _work(self, shown: SceneResult) -> Steps[None]:
        """Make the difference and the numbers anew; started again if the masks change."""
        scene, stamp = self._state.scene, self._watch.stamp()
        self._ui.measureLabel.text = _("Measuring the masks as they are now...")
        masks = yield from masksInSteps(scene, shown)
        if self._differenceIsStale(shown):
            self._wanted = True  # although the former node goes
            yield from DifferenceView(scene, shown).showInSteps(self._structure(), masks)
            self._differing, self._wanted = stamp, None
        if self._isStale():
            yield from self._table.measureInSteps(ChangeTable(scene, shown), masks)
            self._measured = stamp
        told = _("These are the numbers of the masks as they are now.")
        sentences = [told, self._table.unchangedText()]
        self._ui.measureLabel.text = str.join(" ", filter(None, sentences))

    def _onError(self, error: Exception) -> None:
        self._wanted = None
        self._ui.measureLabel.text = str(error)

    def _onTableNode(self) -> None:
        shown = self._state.shown
        if shown is not None:
            nodeID = ChangeTable(self._state.scene, shown).addNode(self._table.rows)
            name = self._state.scene.GetNodeByID(nodeID).GetName()
            slicer.util.showStatusMessage(_("Table: {name}").format(name=name), 2000)

    def _nodes(self) -> tuple[Any, Any]:
        """The refined mask and the segmented volume, if they are in the scene."""
        shown, scene = self._state.shown, self._state.scene
        if shown is None:
            raise MorseError(_("There is no result in the scene."))
        source = readRecord(scene, shown).input
        return scene.GetNodeByID(shown.refined), scene.GetNodeByID(source) if source else None


class ChangeTableView:
    """Lines in the order of the structures, one of which can be chosen.

    :param table: QTableWidget.
    :param onChosen: called with a structure's value; :param onJump: at a double click.
    """

    def __init__(
        self, table: Any, *, onChosen: Callable[[int], None], onJump: Callable[[int], None]
    ) -> None:
        self._table, self._onChosen, self._onJump = table, onChosen, onJump
        self._values: list[int] = []
        self.rows: list[dict[str, Any]] = []
        """What is shown, as dicts with the keys of the report."""
        headers = (
            _("Structure"), _("Coarse,\nml"), _("Refined,\nml"), _("Change,\n%"),
            _("Shift, mm\n(95 %)"),
        )  # fmt: skip
        setColumns(table, headers, elastic=(0,))
        # The first is also the keyboard's; the second, a click on the line that is the current one.
        connect(table, "currentCellChanged(int,int,int,int)", self._choose)
        connect(table, "cellClicked(int,int)", self._choose)
        connect(table, "cellDoubleClicked(int,int)", self._onDoubleClick)

    def show(self, structures: Sequence[Structure], rows: Sequence[dict[str, Any]]) -> None:
        """Show these numbers; of a structure without any, its name."""
        self._values = [structure.value for structure in structures]
        numbers = {row["name"]: row for row in rows if set(COLUMNS) <= set(row)}
        self.rows = [numbers[s.name] for s in structures if s.name in numbers]
        with blocked(self._table):
            self._table.setRowCount(len(structures))
            for n, structure in enumerate(structures):
                row = numbers.get(structure.name)
                self._fill(n, (structure.name,) if row is None else _texts(row))

    def select(self, value: int) -> None:
        """Mark the line of a structure; 0: of none."""
        with blocked(self._table):
            if value in self._values:
                self._table.selectRow(self._values.index(value))
            else:
                self._table.clearSelection()

    def measureInSteps(self, changes: ChangeTable, masks: Masks) -> Iterator[None]:
        """Put the numbers of the masks in place of what is shown, line by line."""
        rows: list[dict[str, Any]] = []
        for row in changes.measuredInSteps(masks):
            if row is not None:
                with blocked(self._table):
                    self._fill(len(rows), _texts(row))
                rows.append(row)
            yield
        self.rows = rows

    def unchangedText(self) -> str:
        """A sentence for a person who flips the masks in vain; empty if any voxel differs."""
        if not self.rows or any(row["added_voxels"] or row["removed_voxels"] for row in self.rows):
            return ""
        return _("Coarse and refined are the same, voxel by voxel.")

    def _fill(self, row: int, texts: Sequence[str]) -> None:
        for column, text in enumerate(texts):
            self._table.setItem(row, column, cell(text))

    def _choose(self, row: int, *_columnAndFormer: int) -> None:
        if 0 <= row < len(self._values):
            self._onChosen(self._values[row])

    def _onDoubleClick(self, row: int, _column: int) -> None:
        if 0 <= row < len(self._values):
            self._onJump(self._values[row])


def _texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Text for a table, of one of the report's ``structures``; an undefined change is a dash."""
    return (
        str(row["name"]),
        _millilitres(row["coarse_ml"]),
        _millilitres(row["refined_ml"]),
        "-" if row["change_percent"] is None else f"{row['change_percent']:+.1f}",
        f"{row['shift_mean_mm']:.2f} ({row['shift_p95_mm']:.2f})",
    )


def _millilitres(volume: float) -> str:
    """Four figures or more; a brain needs no microlitres, a hippocampus does."""
    return f"{volume:.{3 if volume < 10 else 2 if volume < 100 else 1}f}"


def _openInSegmentEditor(segmentation: Any, volume: Any) -> None:
    """Correct a mask by hand.

    :param volume: that the mask is painted on; may be None.
    """
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    if volume is not None:
        editor.setSourceVolumeNode(volume)


def _openInSegmentStatistics(segmentation: Any, volume: Any) -> None:
    """Measure a mask, and the volume's intensities within it."""
    slicer.util.selectModule("SegmentStatistics")
    widget = slicer.util.getModuleWidget("SegmentStatistics")
    widget.segmentationSelector.setCurrentNode(segmentation)
    if volume is not None:
        widget.scalarSelector.setCurrentNode(volume)
