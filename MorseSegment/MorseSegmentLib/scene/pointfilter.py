"""Which of the rendered points are shown, and the table of the worst."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import vtk

from MorseCore.result import RenderedPoints
from MorseSegmentLib.scene.geometry import toWorld
from MorseSegmentLib.scene.markups import SHOWN_FROM, SHOWN_IN_3D_FROM, fillPoints
from MorseSegmentLib.scene.palette import BIN_EDGES, binOf
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult, readRecord

__all__ = ["PointCriteria", "PointRow", "PointsFilter", "selectPoints"]


@dataclass(frozen=True)
class PointCriteria:
    """What a point must be like to be shown; the defaults are what a new result shows."""

    lowest: float = SHOWN_FROM
    """Least uncertainty, included."""
    structures: frozenset[int] | None = None
    """Values (0 is background) of which the coarse or the refined label is one; None for any."""
    change: Literal["any", "changed", "unchanged"] = "any"
    """Whether the rendering gave the point another label."""
    lowest3D: float = SHOWN_IN_3D_FROM
    """Least uncertainty in 3D views, rounded down to a colour's range."""


@dataclass(frozen=True)
class PointRow:
    """A point as a row of the panel's table."""

    row: int
    """Row in the point table; what :class:`MorseSegmentLib.scene.review.Review` takes."""
    rank: int
    """Place in the whole result, from 1."""
    position: tuple[float, float, float]
    """World RAS, mm."""
    coarse: str
    refined: str
    coarseProbability: float
    refinedProbability: float
    uncertainty: float
    changed: bool
    review: str


def selectPoints(points: RenderedPoints, criteria: PointCriteria) -> np.ndarray:
    """(P,) bool: the points that meet the criteria."""
    chosen = points.uncertainty >= np.float32(criteria.lowest)
    if criteria.structures is not None:
        values = list(criteria.structures)
        chosen &= np.isin(points.coarse_label, values) | np.isin(points.refined_label, values)
    if criteria.change != "any":
        chosen &= points.changed == (criteria.change == "changed")
    return chosen


class PointsFilter:
    """Shows a selection of a result's points, in the scene and as rows.

    Example::

        pointsFilter = PointsFilter(scene, shown)
        pointsFilter.apply(PointCriteria(lowest=0.4, change="changed"))   # 312, their number
        for row in pointsFilter.worst(100): ...                           # PointRow, worst first
        pointsFilter.rows()                                               # row numbers of the 312

    After a reload, ``shown`` is one of :func:`MorseSegmentLib.scene.record.findResults`.

    :raises MorseError: if the result's record or point table is gone.
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult) -> None:
        self._scene, self._shown = scene, shown
        self._table = PointTable.read(scene.GetNodeByID(shown.pointTable))
        self._names = {0: "Background"}
        self._names.update((s.value, s.name) for s in readRecord(scene, shown).structures)
        self._bins = binOf(self._table.points.uncertainty)
        self._criteria = PointCriteria()

    @property
    def structures(self) -> dict[int, str]:
        """Names by value, the background first; for a list of classes to choose from."""
        return dict(self._names)

    def apply(self, criteria: PointCriteria) -> int:
        """Show what meets the criteria; how many points that are.

        A range of which nothing is left is hidden, one that holds the right points already is
        only shown; the others are filled anew, each in one batch.
        """
        self._criteria = criteria
        chosen = selectPoints(self._table.points, criteria)
        for number, nodeID in enumerate(self._shown.points):
            node = self._scene.GetNodeByID(nodeID)
            if node is None or node.GetDisplayNode() is None:  # removed by a person
                continue
            rows = np.flatnonzero(chosen & (self._bins == number))
            if rows.size and not np.array_equal(_ranksIn(node), self._table.ranks[rows]):
                fillPoints(node, self._table.points.take(rows), self._table.ranks[rows])
            display = node.GetDisplayNode()
            display.SetVisibility(bool(rows.size))
            display.SetVisibility3D(BIN_EDGES[number + 1] > criteria.lowest3D)
        return int(chosen.sum())

    def rows(self) -> np.ndarray:
        """Row numbers of the points that are shown, the most uncertain first."""
        return np.flatnonzero(selectPoints(self._table.points, self._criteria))

    def rowsIn3D(self) -> np.ndarray:
        """Row numbers of the points that 3D views draw."""
        rows = self.rows()
        drawn = [self._isIn3D(nodeID) for nodeID in self._shown.points]
        return rows[np.array(drawn, bool)[self._bins[rows]]]

    def _isIn3D(self, nodeID: str) -> bool:
        node = self._scene.GetNodeByID(nodeID)
        display = None if node is None else node.GetDisplayNode()
        return display is not None and bool(display.GetVisibility() and display.GetVisibility3D())

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """(P, 3) world RAS mm of points by their row numbers, shown or not."""
        local = self._table.points.positions[rows]
        refined = self._scene.GetNodeByID(self._shown.refined)
        return local if refined is None else toWorld(refined, local)

    def worst(self, count: int = 100) -> list[PointRow]:
        """The most uncertain of the points that are shown."""
        rows = self.rows()[:count]
        return self._describe(rows)

    def row(self, number: int) -> PointRow:
        """One point by its row number, shown or not."""
        return self._describe(np.array([number]))[0]

    def _describe(self, rows: np.ndarray) -> list[PointRow]:
        points, world = self._table.points.take(rows), self.positions(rows)
        return [
            PointRow(
                row=int(row),
                rank=int(self._table.ranks[row]),
                position=tuple(world[n].tolist()),
                coarse=self._name(points.coarse_label[n]),
                refined=self._name(points.refined_label[n]),
                coarseProbability=float(points.coarse_probability[n]),
                refinedProbability=float(points.refined_probability[n]),
                uncertainty=float(points.uncertainty[n]),
                changed=bool(points.changed[n]),
                review=self._table.review(int(row)),
            )
            for n, row in enumerate(rows)
        ]

    def _name(self, label: int) -> str:
        return self._names.get(int(label), str(label))


def _ranksIn(node: vtk.vtkObject) -> list[int]:
    labels = (node.GetNthControlPointLabel(n) for n in range(node.GetNumberOfControlPoints()))
    return [int(label) if label.isdecimal() else 0 for label in labels]
