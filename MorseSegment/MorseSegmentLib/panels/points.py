"""Points: which of the rendered points are shown, the worst of them, and what a person thinks."""

from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MorseCore.errors import MorseError
from MorseSegmentLib.panels.slots import blocked, connect, fillCombo
from MorseSegmentLib.pointsfilter import PointCriteria, PointRow, PointsFilter
from MorseSegmentLib.review import Review
from MorseSegmentLib.state import ModuleState
from MorseSegmentLib.viewclicks import ViewClicks

__all__ = ["PointsPanel"]

_NEAR = 3.0  # mm from a click to the point that was meant
_LISTED = 100


class PointsPanel:
    """Filter, table and review of the points of the result that is looked at."""

    def __init__(self, ui: Any, state: ModuleState) -> None:
        self._ui, self._state = ui, state
        self._filter: PointsFilter | None = None
        self._review: Review | None = None
        self._applied: tuple[str, PointCriteria | None] = ("", None)
        self._rows: list[int] = []  # of the point table, by line of the widget
        self._clicks = ViewClicks(self._onViewClick)
        self._headers = (
            _("Rank"), _("Uncertainty"), _("Coarse"), _("Refined"), _("Changed"), _("Review")
        )  # fmt: skip
        self._words = {
            "undecided": "", "accepted": _("accepted"), "flagged": _("flagged"),
        }  # fmt: skip
        self._connect()
        state.onChange(self.refresh)
        self.refresh()

    def _connect(self) -> None:
        ui = self._ui
        ui.pointTable.setColumnCount(len(self._headers))
        ui.pointTable.setHorizontalHeaderLabels(list(self._headers))
        changes = [(_("All"), "any"), (_("Changed"), "changed"), (_("Unchanged"), "unchanged")]
        fillCombo(ui.pointChangeSelector, changes, "any")
        connect(ui.uncertaintySlider, "valueChanged(double)", self._onUncertainty)
        connect(ui.pointStructureSelector, "currentIndexChanged(int)", self._onStructure)
        connect(ui.pointChangeSelector, "currentIndexChanged(int)", self._onChanged)
        connect(ui.pointTable, "currentCellChanged(int,int,int,int)", self._onLine)
        connect(ui.previousPointButton, "clicked()", lambda: self._walk(forward=False))
        connect(ui.nextPointButton, "clicked()", lambda: self._walk(forward=True))
        connect(ui.acceptPointButton, "clicked()", lambda: self._decide("accepted"))
        connect(ui.flagPointButton, "clicked()", lambda: self._decide("flagged"))

    def enter(self) -> None:
        """Listen to clicks into the views while the module is in front."""
        self._clicks.listen(slicer.app.layoutManager())

    def exit(self) -> None:
        """Clicks are for others again."""
        self._clicks.close()

    def refresh(self) -> None:
        """Show what the state holds; points are only filtered anew if that has changed."""
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
        """Take the points of the result that is looked at."""
        shown, scene = self._state.shown, self._state.scene
        self._filter = self._review = None
        if shown is not None:
            try:
                self._filter, self._review = PointsFilter(scene, shown), Review(scene, shown)
            except MorseError as error:  # of another version, or its table was removed
                self._ui.pointLabel.text = str(error)
        names = {} if self._filter is None else self._filter.structures
        entries = [(name, value) for value, name in names.items() if value]
        fillCombo(self._ui.pointStructureSelector, [(_("All"), 0), *entries], 0)
        self._ui.pointTable.setRowCount(0)
        self._rows = []

    def _apply(self, criteria: PointCriteria) -> None:
        """Show the chosen points in the views, and list the worst."""
        if self._filter is None or self._review is None:
            return
        count = self._filter.apply(criteria)
        self._review.setRows(self._filter.rows())
        worst = self._filter.worst(_LISTED)
        self._rows = [point.row for point in worst]
        table = self._ui.pointTable
        with blocked(table):
            table.setRowCount(len(worst))
            for line, point in enumerate(worst):
                self._fillLine(line, point)
            table.clearSelection()
        table.resizeColumnsToContents()
        self._ui.pointLabel.text = _("{count} points are shown.").format(count=count)

    def _fillLine(self, line: int, point: PointRow) -> None:
        texts = (
            str(point.rank),
            f"{point.uncertainty:.3f}",
            f"{point.coarse} ({point.coarseProbability:.2f})",
            f"{point.refined} ({point.refinedProbability:.2f})",
            _("yes") if point.changed else "",
            self._words[point.review],
        )
        for column, text in enumerate(texts):
            self._ui.pointTable.setItem(line, column, qt.QTableWidgetItem(text))

    def _enable(self) -> None:
        ui, some = self._ui, bool(self._rows)
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

    def _onLine(self, line: int, column: int, lineBefore: int, columnBefore: int) -> None:
        if self._review is not None and 0 <= line < len(self._rows):
            self._review.jump(self._rows[line])
            self._show(self._rows[line])

    def _onViewClick(self, position: tuple[float, float, float]) -> None:
        row = None if self._review is None else self._review.nearest(position, within=_NEAR)
        if self._review is not None and row is not None:
            self._review.jump(row)
            self._show(row)

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
        if row in self._rows:
            with blocked(self._ui.pointTable):
                self._fillLine(self._rows.index(row), points.row(row))
        following = review.next(undecidedOnly=True)
        self._show(row if following is None else following)

    def _show(self, row: int) -> None:
        """Select the row's line, if it is listed, and say how far the review has come."""
        if self._review is None or self._filter is None:
            return
        table, point, counts = self._ui.pointTable, self._filter.row(row), self._review.counts()
        with blocked(table):
            if row in self._rows:
                table.selectRow(self._rows.index(row))
            else:
                table.clearSelection()
        self._ui.pointLabel.text = _(
            "Point {rank}: {coarse} before, {refined} after. "
            "{accepted} accepted, {flagged} flagged, {left} left."
        ).format(
            rank=point.rank, coarse=point.coarse, refined=point.refined,
            accepted=counts.accepted, flagged=counts.flagged, left=counts.left,
        )  # fmt: skip
        self._enable()
