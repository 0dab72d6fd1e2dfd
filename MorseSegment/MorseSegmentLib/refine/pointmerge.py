"""Replaces a result's points inside a box by those that were rendered there again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints
from MorseSegmentLib.scene.markups import MAXIMUM_POINTS, fillPoints
from MorseSegmentLib.scene.palette import binOf
from MorseSegmentLib.scene.pointtable import UNDECIDED, PointTable, fillPointTable
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import referenceGeometry

__all__ = ["PointMerge"]

_EDGE = 1e-6  # voxels; a point on the border belongs to the box


class PointMerge:
    """Puts points into a result's table and markups; decisions on other points stay.

    Example::

        merge = PointMerge(scene, shown, block.points, block.geometry)
        merge.do()
        merge.takeBack()    # the points as before; 2, the new points that had been reviewed

    The new points replace those inside the box. At most 8192 stay, reviewed ones before all others.
    A point's rank is its place among the points that are shown then: points.csv of a batch run
    knows nothing of the new ones.

    :param points: those rendered for the box, in the RAS of the segmented volume.
    :param box: its grid.
    :raises MorseError: if the result's point table is gone.
    """

    def __init__(
        self, scene: vtk.vtkObject, shown: SceneResult, points: RenderedPoints, box: Geometry
    ) -> None:
        self._scene, self._shown = scene, shown
        table = PointTable.read(scene.GetNodeByID(shown.pointTable))
        self._former = _Rows(table.points, table.ranks, table.reviews())
        staying = np.flatnonzero(~_inside(box, table.points.positions))
        self._staying = set(_keys(table.points.take(staying)))
        new = self._onOwnGrid(points.take(np.flatnonzero(_inside(box, points.positions))))
        merged = _joined(table.points.take(staying), new)
        states = [self._former.reviews[row] for row in staying] + [UNDECIDED] * len(new)
        decided = np.array([state != UNDECIDED for state in states], bool)
        worst = np.lexsort((-merged.uncertainty, ~decided))[:MAXIMUM_POINTS]
        order = worst[np.argsort(-merged.uncertainty[worst], kind="stable")]
        ranks = np.arange(1, len(order) + 1, dtype=np.int32)
        self._merged = _Rows(merged.take(order), ranks, [states[row] for row in order])

    def do(self) -> None:
        """Show the merged points."""
        self._write(self._merged)

    def takeBack(self) -> int:
        """Show the former points; how many of the new ones had been reviewed."""
        node = self._scene.GetNodeByID(self._shown.pointTable)
        if node is None:  # removed by a person: then there is no list to bring back
            return 0
        now, known = PointTable.read(node), self._staying
        decisions = dict(zip(_keys(now.points), now.reviews(), strict=True))
        states = [
            decisions.get(key, state) if key in known else state
            for key, state in zip(_keys(self._former.points), self._former.reviews, strict=True)
        ]
        self._write(_Rows(self._former.points, self._former.ranks, states))
        return sum(state != UNDECIDED for key, state in decisions.items() if key not in known)

    def _onOwnGrid(self, points: RenderedPoints) -> RenderedPoints:
        """The same points, their voxels named on the result's grid instead of the box's."""
        refined = self._scene.GetNodeByID(self._shown.refined)
        if refined is None or not len(points):
            return points
        grid = referenceGeometry(refined)
        nearest = np.rint(grid.to_index(points.positions)).astype(np.int32)
        indices = np.clip(nearest, 0, np.array(grid.shape[::-1]) - 1).astype(np.int32)
        return RenderedPoints(
            points.positions, indices, points.uncertainty, points.coarse_label,
            points.refined_label, points.coarse_probability, points.refined_probability,
        )  # fmt: skip

    def _write(self, rows: "_Rows") -> None:
        table = self._scene.GetNodeByID(self._shown.pointTable)
        if table is None:
            raise MorseError("The table of rendered points is no longer in the scene.")
        fillPointTable(table, rows.points, rows.ranks, rows.reviews)
        bins = binOf(rows.points.uncertainty)
        for number, nodeID in enumerate(self._shown.points):
            node = self._scene.GetNodeByID(nodeID)
            if node is not None:
                chosen = np.flatnonzero(bins == number)
                fillPoints(node, rows.points.take(chosen), rows.ranks[chosen])


@dataclass(frozen=True, eq=False)
class _Rows:
    """What a point table holds."""

    points: RenderedPoints
    ranks: np.ndarray
    reviews: Sequence[str]


def _inside(box: Geometry, positions: np.ndarray) -> np.ndarray:
    """(P,) bool: positions (P, 3) that lie in the box's voxels."""
    index = box.to_index(positions)
    upper = np.array(box.shape[::-1]) - 0.5
    return ((index >= -0.5 - _EDGE) & (index <= upper + _EDGE)).all(axis=1)


def _joined(first: RenderedPoints, second: RenderedPoints) -> RenderedPoints:
    return RenderedPoints(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)])
            for name in RenderedPoints.__dataclass_fields__
        )
    )


def _keys(points: RenderedPoints) -> list[bytes]:
    """What a point is known by, whatever its rank: no two voxels lie at one place."""
    return [row.tobytes() for row in points.positions]
