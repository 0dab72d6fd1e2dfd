"""The table of the worst points: a line for each, one of which is the current one."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from MorseSegmentLib.panels.slots import blocked, connect
from MorseSegmentLib.scene.pointfilter import PointRow

__all__ = ["PointLines"]

_ONE_PRESS = 0.1  # seconds within which two signals come from the same press of the mouse


class PointLines:
    """Lines in the order of uncertainty; a point from elsewhere gets a line below them.

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
            _("Rank"), _("Uncertainty"), _("Coarse"), _("Refined"), _("Changed"), _("Review")
        )  # fmt: skip
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(list(headers))
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
        self._table.resizeColumnsToContents()

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
            f"{point.coarse} ({point.coarseProbability:.2f})",
            f"{point.refined} ({point.refinedProbability:.2f})",
            _("yes") if point.changed else "",
            self._words[point.review],
        )
        for column, text in enumerate(texts):
            self._table.setItem(line, column, qt.QTableWidgetItem(text))

    def _onCurrent(self, line: int, *_columnAndFormer: int) -> None:
        if 0 <= line < len(self._rows):
            self._onChosen(self._rows[line])
            self._chosenAt = time.monotonic()  # after the jump, which may take longer than a press

    def _onPress(self, line: int, _column: int) -> None:
        """A press on the line that is the current one already: the views may be elsewhere."""
        if time.monotonic() - self._chosenAt > _ONE_PRESS:
            self._onCurrent(line)
