"""Points: which rendered points are shown, a table of the worst, and their review."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.state import ModuleState
from MorseSegmentLib.panels.widgets import blocked, cell, connect, fillCombo, setColumns
from MorseSegmentLib.scene.picking import Click3D, ViewClicks, nearestProjected
from MorseSegmentLib.scene.pointfilter import PointCriteria, PointRow, PointsFilter
from MorseSegmentLib.scene.review import Review
from MorseSegmentLib.scene.watch import NodeWatch, PointsWatch

__all__ = ["PointsPanel"]

_NEAR = 3.0  # mm from a click into a slice to the point that was meant
_NEAR_PIXELS = 8.0  # and into a 3D view, where points are drawn
_LISTED = 100
_PAUSE = 50  # ms without a further change of the points before they are read again
_ONE_PRESS = 0.1  # seconds within which two signals come from the same press of the mouse


class PointsPanel:
    """Filter, table and review of the points of the shown result."""

    def __init__(self, ui: Any, state: ModuleState) -> None:
        self._ui, self._state = ui, state
        self._isInFront = False
        self._filter: PointsFilter | None = None
        self._review: Review | None = None
        self._applied: tuple[str | None, PointCriteria | None] = (None, None)
        self._lines = PointLines(ui.pointTable, self._onLine)
        self._clicks = ViewClicks(self._onSliceClick, self._on3DClick)
        # Another layout may have views that are new, once it has been laid out.
        self._layout = NodeWatch(lambda: qt.QTimer.singleShot(0, self._listen))
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._watch = PointsWatch(state.scene, lambda: self._timer.start(_PAUSE))
        self._connect()
        state.signals.connect("changed", self.refresh)
        self.refresh()

    def _connect(self) -> None:
        ui = self._ui
        changes = [(_("All"), "any"), (_("Changed"), "changed"), (_("Unchanged"), "unchanged")]
        fillCombo(ui.pointChangeSelector, changes, "any")
        connect(ui.uncertaintySlider, "valueChanged(double)", self._onUncertainty)
        connect(ui.pointStructureSelector, "currentIndexChanged(int)", self._onStructure)
        connect(ui.pointChangeSelector, "currentIndexChanged(int)", self._onChanged)
        connect(self._timer, "timeout()", self._onOtherPoints)
        connect(ui.previousPointButton, "clicked()", lambda: self._walk(forward=False))
        connect(ui.nextPointButton, "clicked()", lambda: self._walk(forward=True))
        connect(ui.acceptPointButton, "clicked()", lambda: self._decide("accepted"))
        connect(ui.flagPointButton, "clicked()", lambda: self._decide("flagged"))

    def enter(self) -> None:
        """Listen to clicks into the views while the module is in front."""
        self._isInFront = True
        self._layout.look(self._state.scene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
        self._listen()

    def exit(self) -> None:
        """Stop listening to clicks."""
        self._isInFront = False
        self._layout.look(None)
        self._clicks.close()

    def close(self) -> None:
        """Stop listening."""
        self.exit()
        self._timer.stop()
        self._timer.deleteLater()  # while it lives, its slot keeps this panel
        self._watch.look(None)

    def refresh(self) -> None:
        """Show the state. Points are filtered again only if the criteria have changed."""
        parameters, shown = self._state.parameters, self._state.shown
        record = "" if shown is None else shown.record
        if record != self._applied[0]:
            self._applied = (record, None)
            self._read()
        ui = self._ui
        with blocked(ui.uncertaintySlider, ui.pointStructureSelector, ui.pointChangeSelector):
            ui.uncertaintySlider.value = parameters.minimumUncertainty
            row = ui.pointStructureSelector.findData(parameters.pointStructure)
            ui.pointStructureSelector.currentIndex = max(0, row)
            ui.pointChangeSelector.currentIndex = ui.pointChangeSelector.findData(
                parameters.pointChange
            )
        structure = parameters.pointStructure
        criteria = PointCriteria(
            lowest=parameters.minimumUncertainty,
            structures=frozenset([structure]) if structure else None,
            change=parameters.pointChange,
        )
        if self._filter is not None and self._applied != (record, criteria):
            self._applied = (record, criteria)
            self._apply(criteria)
        self._enable()

    def _read(self) -> None:
        """Read the points of the shown result."""
        shown, scene = self._state.shown, self._state.scene
        self._filter = self._review = None
        self._ui.pointLabel.text = "" if shown else _("There is no result in the scene.")
        if shown is not None:
            try:
                self._filter, self._review = PointsFilter(scene, shown), Review(scene, shown)
            except MorseError as error:  # of another version, or its table was removed
                self._ui.pointLabel.text = str(error)
        names = {} if self._filter is None else self._filter.structures
        entries = [(name, value) for value, name in names.items() if value]
        fillCombo(self._ui.pointStructureSelector, [(_("All"), 0), *entries], 0)
        self._lines.show([])
        self._watch.look(shown)

    def _apply(self, criteria: PointCriteria) -> None:
        """Show the chosen points in the views, and list the worst."""
        if self._filter is None or self._review is None:
            return
        count = self._filter.apply(criteria)
        self._review.setRows(self._filter.rows())
        self._lines.show(self._filter.worst(_LISTED))
        text = _("{count} points are shown.").format(count=count)
        if count:
            text += " " + _("Choose one to go there, and to accept or flag it.")
        self._ui.pointLabel.text = text

    def _enable(self) -> None:
        ui, some = self._ui, bool(self._lines)
        for widget in (ui.uncertaintySlider, ui.pointStructureSelector, ui.pointChangeSelector):
            widget.enabled = self._filter is not None
        for button in (ui.previousPointButton, ui.nextPointButton):
            button.enabled = some
        chosen = self._review is not None and self._review.current is not None
        for button in (ui.acceptPointButton, ui.flagPointButton):
            button.enabled = some and chosen

    def _onUncertainty(self, value: float) -> None:
        self._state.set(replace(self._state.parameters, minimumUncertainty=round(value, 2)))

    def _onStructure(self, row: int) -> None:
        value = self._ui.pointStructureSelector.itemData(row)
        self._state.set(replace(self._state.parameters, pointStructure=value or 0))

    def _onChanged(self, row: int) -> None:
        change = self._ui.pointChangeSelector.itemData(row)
        self._state.set(replace(self._state.parameters, pointChange=change))

    def _onOtherPoints(self) -> None:
        self._applied = (None, None)
        self.refresh()

    def _listen(self) -> None:
        if self._isInFront:
            self._clicks.listen(slicer.app.layoutManager())

    def _onLine(self, row: int) -> None:
        if self._review is not None:
            self._review.jump(row)
            self._show(row)

    def _onSliceClick(self, position: tuple[float, float, float]) -> None:
        review = self._review
        row = None if review is None else review.nearest(position, within=_NEAR)
        if review is not None and row is not None and not self._isPlacing():
            review.jump(row)
            self._show(row)

    def _on3DClick(self, click: Click3D) -> None:
        review, points = self._review, self._filter
        if review is None or points is None or self._isPlacing():
            return
        rows = points.rowsIn3D()
        found = nearestProjected(points.positions(rows), click, _NEAR_PIXELS)
        if found is not None:
            # The person looks at the point already: the camera stays where it is.
            review.jump(int(rows[found]), aimCameras=False)
            self._show(int(rows[found]))

    def _isPlacing(self) -> bool:
        """Whether a click places a markup, so that it chooses nothing."""
        node = self._state.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        return node is not None and node.GetCurrentInteractionMode() == node.Place

    def _walk(self, *, forward: bool) -> None:
        if self._review is not None:
            row = self._review.next() if forward else self._review.previous()
            if row is not None:
                self._show(row)

    def _decide(self, state: str) -> None:
        """Say what the current point is, and go to the next one without a word yet."""
        review, points = self._review, self._filter
        if review is None or points is None or review.current is None:
            return
        row = review.current
        review.setState(row, state)
        self._lines.update(points.row(row))
        following = review.next(undecidedOnly=True)
        self._show(row if following is None else following)

    def _show(self, row: int) -> None:
        """Select the row's line, and say how far the review has come."""
        if self._review is None or self._filter is None:
            return
        point, counts = self._filter.row(row), self._review.counts()
        self._lines.select(point)
        self._ui.pointLabel.text = _(
            "Point {rank}: {coarse} before, {refined} after. "
            "{accepted} accepted, {flagged} flagged, {left} left."
        ).format(
            rank=point.rank, coarse=point.coarse, refined=point.refined,
            accepted=counts.accepted, flagged=counts.flagged, left=counts.left,
        )  # fmt: skip
        self._enable()


class PointLines:
    """Lines in the order of uncertainty; a point that is not listed gets a line below them.

    :param table: QTableWidget.
    :param onChosen: called with the row of the point table whose line was chosen.
    """

    def __init__(self, table: Any, onChosen: Callable[[int], None]) -> None:
        self._table, self._onChosen = table, onChosen
        self._rows: list[int] = []  # of the point table, by line
        self._listed = 0  # lines that are no guests
        self._chosenAt = 0.0
        self._words: Mapping[str, str] = {
            "undecided": "", "accepted": _("accepted"), "flagged": _("flagged"),
        }  # fmt: skip
        headers = (
            _("Rank"), _("Unsure"), _("Coarse"), _("Refined"), _("Changed"), _("Review")
        )  # fmt: skip
        setColumns(table, headers, elastic=(2, 3))
        connect(table, "currentCellChanged(int,int,int,int)", self._onCurrent)
        connect(table, "cellPressed(int,int)", self._onPress)

    def __len__(self) -> int:
        return len(self._rows)

    def show(self, points: Sequence[PointRow]) -> None:
        """List these points and no others; none is the current one."""
        self._rows, self._listed = [point.row for point in points], len(points)
        with blocked(self._table):
            self._table.setRowCount(len(points))
            for line, point in enumerate(points):
                self._fill(line, point)
            self._forget()

    def update(self, point: PointRow) -> None:
        """Show what has become of a point, if it is listed."""
        if point.row in self._rows:
            with blocked(self._table):
                self._fill(self._rows.index(point.row), point)

    def select(self, point: PointRow) -> None:
        """Mark the line of a point; if it is none of the worst, in a line of its own below."""
        with blocked(self._table):
            if point.row not in self._rows[: self._listed]:
                self._rows[self._listed :] = [point.row]
                self._table.setRowCount(len(self._rows))
                self._fill(self._listed, point)
            line = self._rows.index(point.row)
            # A press on a line chose it already: if the table scrolled now, Qt would select what
            # lies under the mouse then, the line below.
            if line == self._table.currentRow():
                return
            self._table.setCurrentCell(line, 0)
            self._table.selectRow(line)
            self._table.scrollToItem(self._table.item(line, 0))

    def _forget(self) -> None:
        self._table.setCurrentCell(-1, -1)  # else a click on the former line would be no change
        self._table.clearSelection()

    def _fill(self, line: int, point: PointRow) -> None:
        texts = (
            str(point.rank),
            f"{point.uncertainty:.3f}",
            f"{point.coarseProbability:.2f} {point.coarse}",
            f"{point.refinedProbability:.2f} {point.refined}",
            _("yes") if point.changed else "",
            self._words[point.review],
        )
        for column, text in enumerate(texts):
            self._table.setItem(line, column, cell(text))

    def _onCurrent(self, line: int, *_columnAndFormer: int) -> None:
        if 0 <= line < len(self._rows):
            self._onChosen(self._rows[line])
            self._chosenAt = time.monotonic()  # after the jump, which may take longer than a press

    def _onPress(self, line: int, _column: int) -> None:
        """Handle a press on the current line: the views may show another place."""
        if time.monotonic() - self._chosenAt > _ONE_PRESS:
            self._onCurrent(line)
