"""The table of structures: what the rendering changed in each, as the masks are now."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from MorseCore.result import Structure
from MorseSegmentLib.panels.slots import blocked, connect
from MorseSegmentLib.scene.changes import COLUMNS, ChangeTable
from MorseSegmentLib.scene.compare import line
from MorseSegmentLib.scene.masks import Masks

__all__ = ["ChangeTableView"]


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
            _("Structure"), _("Coarse, ml"), _("Refined, ml"), _("Change, ml"), _("Change, %"),
            _("Shift, mm (95 %)"),
        )  # fmt: skip
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(list(headers))
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
                self._fill(n, (structure.name,) if row is None else line(row))
        self._table.resizeColumnsToContents()

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
                    self._fill(len(rows), line(row))
                rows.append(row)
            yield
        self.rows = rows

    def _fill(self, row: int, texts: Sequence[str]) -> None:
        for column, text in enumerate(texts):
            self._table.setItem(row, column, qt.QTableWidgetItem(text))

    def _choose(self, row: int, *_columnAndFormer: int) -> None:
        if 0 <= row < len(self._values):
            self._onChosen(self._values[row])

    def _onDoubleClick(self, row: int, _column: int) -> None:
        if 0 <= row < len(self._values):
            self._onJump(self._values[row])
