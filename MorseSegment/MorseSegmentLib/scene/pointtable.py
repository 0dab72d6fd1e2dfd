"""The rendered points and their review as a table node: what the panel needs after a reload.

Eight thousand points are 0.67 MB in a saved scene and take a tenth of a second to load; a model
node takes 0.49 MB and 3 ms, but a person cannot read it, nor copy it into a spreadsheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import vtk
from vtk.util import numpy_support

from MorseCore.errors import MorseError
from MorseCore.result import RenderedPoints
from MorseSegmentLib.scene.markups import worstPoints
from MorseSegmentLib.scene.nodes import NodeLedger

__all__ = ["REVIEW_STATES", "UNDECIDED", "PointTable", "addPointTable", "fillPointTable"]

UNDECIDED = "undecided"
REVIEW_STATES = (UNDECIDED, "accepted", "flagged")
"""What a person can say about a point."""

_REAL = ("r", "a", "s", "uncertainty", "coarse_probability", "refined_probability")
_WHOLE = ("rank", "i", "j", "k", "coarse_label", "refined_label")
_REVIEW = "review"


@dataclass(frozen=True, eq=False)
class PointTable:
    """The points of a table node, the most uncertain first; ``P`` rows.

    Example::

        table = PointTable.read(scene.GetNodeByID(shown.pointTable))
        table.points.uncertainty[0]      # RenderedPoints, RAS of the segmented volume
        table.review(0)                  # "undecided"
        table.setReview(0, "accepted")
    """

    node: vtk.vtkObject
    """vtkMRMLTableNode."""
    points: RenderedPoints
    ranks: np.ndarray
    """(P,) int32: place in the whole result, from 1, as in points.csv; also the markups' label."""

    @classmethod
    def read(cls, node: vtk.vtkObject | None) -> "PointTable":
        """The points in a table node.

        :raises MorseError: if there is no such node or columns are missing.
        """
        if node is None:
            raise MorseError("The table of rendered points is no longer in the scene.")
        table = node.GetTable()
        columns = {name: table.GetColumnByName(name) for name in (*_REAL, *_WHOLE, _REVIEW)}
        missing = [name for name, column in columns.items() if column is None]
        if missing:
            raise MorseError(
                f"'{node.GetName()}' is not a table of rendered points: it lacks the column "
                f"'{missing[0]}'."
            )
        values = {
            name: np.zeros(0) if not table.GetNumberOfRows() else _numbers(columns[name])
            for name in (*_REAL, *_WHOLE)
        }
        points = RenderedPoints(
            np.stack([values[name] for name in "ras"], axis=1),
            np.stack([values[name] for name in "ijk"], axis=1).astype(np.int32),
            values["uncertainty"].astype(np.float32),
            values["coarse_label"].astype(np.int32),
            values["refined_label"].astype(np.int32),
            values["coarse_probability"].astype(np.float32),
            values["refined_probability"].astype(np.float32),
        )
        return cls(node, points, values["rank"].astype(np.int32))

    def __len__(self) -> int:
        return len(self.points)

    def review(self, row: int) -> str:
        """One of ``REVIEW_STATES``; what is not known counts as undecided."""
        state = self._reviews().GetValue(row)
        return state if state in REVIEW_STATES else UNDECIDED

    def reviews(self) -> list[str]:
        """The state of every row."""
        column = self._reviews()
        return [column.GetValue(row) for row in range(len(self))]

    def setReview(self, row: int, state: str) -> None:
        """Write a state; the scene knows that it has changed."""
        if state not in REVIEW_STATES:
            raise ValueError(f"A point can be {', '.join(REVIEW_STATES)}; not '{state}'.")
        self._reviews().SetValue(row, state)
        self.node.GetTable().Modified()

    def _reviews(self) -> vtk.vtkObject:
        # Asked anew each time: another tool may have put another table into the node.
        return self.node.GetTable().GetColumnByName(_REVIEW)


def addPointTable(ledger: NodeLedger, name: str, points: RenderedPoints) -> PointTable:
    """Make a vtkMRMLTableNode of the at most 8192 points that are shown, all undecided."""
    order = worstPoints(points)
    chosen, ranks = points.take(order), (order + 1).astype(np.int32)
    node = ledger.make("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    fillPointTable(node, chosen, ranks, [UNDECIDED] * len(chosen))
    node.SetLocked(True)  # read only in Slicer's own table view
    return PointTable(node, chosen, ranks)


def fillPointTable(
    node: vtk.vtkObject, points: RenderedPoints, ranks: np.ndarray, reviews: Sequence[str]
) -> None:
    """Give a table node these points and no others, as a new vtkTable.

    :param points: (P,), in the order of the rows; ``ranks`` (P,), ``reviews`` P states.
    """
    columns: dict[str, np.ndarray] = {"rank": ranks}
    columns.update(zip("ras", points.positions.T, strict=True))
    columns["uncertainty"] = points.uncertainty
    columns["coarse_label"], columns["refined_label"] = points.coarse_label, points.refined_label
    columns["coarse_probability"] = points.coarse_probability
    columns["refined_probability"] = points.refined_probability
    columns.update(zip("ijk", points.indices.T, strict=True))
    table = vtk.vtkTable()
    for label, values in columns.items():
        table.AddColumn(_column(label, values))
    table.AddColumn(_reviewColumn(reviews))
    node.SetAndObserveTable(table)


def _column(name: str, values: np.ndarray) -> vtk.vtkObject:
    real = name in _REAL
    column = numpy_support.numpy_to_vtk(
        np.ascontiguousarray(values, dtype=np.float64 if real else np.int32),
        deep=True,
        array_type=vtk.VTK_DOUBLE if real else vtk.VTK_INT,
    )
    column.SetName(name)
    return column


def _reviewColumn(reviews: Sequence[str]) -> vtk.vtkObject:
    column = vtk.vtkStringArray()
    column.SetName(_REVIEW)
    column.SetNumberOfValues(len(reviews))
    for row, state in enumerate(reviews):
        column.SetValue(row, state)
    return column


def _numbers(column: vtk.vtkObject) -> np.ndarray:
    return numpy_support.vtk_to_numpy(column).copy()
