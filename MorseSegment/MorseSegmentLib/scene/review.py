"""Walking through the rendered points and saying which of them are right."""

from dataclasses import dataclass

import numpy as np
import vtk

from MorseSegmentLib.scene import views
from MorseSegmentLib.scene.geometry import toWorld
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult

__all__ = ["Review", "ReviewCounts"]


@dataclass(frozen=True)
class ReviewCounts:
    """How far a review has come."""

    accepted: int
    flagged: int
    left: int


class Review:
    """Moves all views from point to point and keeps what a person says about each.

    Example::

        review = Review(scene, shown)
        review.setRows(pointsFilter.rows())      # walk through what is shown
        review.next()                            # row 0; every view is centred on it
        review.setState(review.current, "accepted")
        review.next(undecidedOnly=True)
        review.jump(17)                          # a row of the table was clicked
        review.nearest((12.0, -3.5, 40.1), within=3.0)   # a view was clicked: row or None
        review.counts()                          # ReviewCounts(accepted=1, flagged=0, left=8191)

    Rows are those of the point table. States are in the scene, so they are saved with it.

    :raises MorseError: if the result's point table is gone.
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult) -> None:
        self._scene, self._shown = scene, shown
        self._table = PointTable.read(scene.GetNodeByID(shown.pointTable))
        self._rows = np.arange(len(self._table))
        self.current: int | None = None
        """Row that was last jumped to."""

    def setRows(self, rows: np.ndarray) -> None:
        """Walk through these rows only, in their order."""
        self._rows = np.asarray(rows, dtype=int)

    def next(self, *, undecidedOnly: bool = False) -> int | None:
        """Jump to the row after the current one, from the last to the first; None if none is."""
        return self._step(1, undecidedOnly)

    def previous(self, *, undecidedOnly: bool = False) -> int | None:
        """Jump to the row before the current one, from the first to the last."""
        return self._step(-1, undecidedOnly)

    def jump(self, row: int, *, aimCameras: bool = True) -> tuple[float, float, float]:
        """Centre every slice on a point, and every 3D view if wanted; its world RAS."""
        if not 0 <= row < len(self._table):
            raise IndexError(f"There are {len(self._table)} points; there is no row {row}.")
        self.current = row
        position = self._world(np.array([row]))[0]
        r, a, s = position.tolist()
        views.showSlices(self._scene, (r, a, s))
        if aimCameras:
            views.aimCameras(self._scene, position)
        self._showCrosshair(position)
        return r, a, s

    def nearest(self, position: tuple[float, float, float], within: float) -> int | None:
        """Row of the point nearest to a world RAS, among those walked through.

        :param within: mm; None is returned if no point is as near.
        """
        if not len(self._rows):
            return None
        distances = np.linalg.norm(self._world(self._rows) - np.asarray(position), axis=1)
        best = int(distances.argmin())
        return int(self._rows[best]) if distances[best] <= within else None

    def state(self, row: int) -> str:
        """``undecided``, ``accepted`` or ``flagged``."""
        return self._table.review(row)

    def setState(self, row: int, state: str) -> None:
        """Say what a point is; see :meth:`state`."""
        self._table.setReview(row, state)

    def counts(self) -> ReviewCounts:
        """How many of all points are accepted, flagged, left."""
        states = self._table.reviews()
        accepted, flagged = states.count("accepted"), states.count("flagged")
        return ReviewCounts(accepted, flagged, len(states) - accepted - flagged)

    def _step(self, direction: int, undecidedOnly: bool) -> int | None:
        rows, decided = self._rows.tolist(), ("accepted", "flagged")
        states = self._table.reviews() if undecidedOnly else []
        before = -1 if direction > 0 else 0  # one step away from the first or the last row
        start = rows.index(self.current) if self.current in rows else before
        for distance in range(1, len(rows) + 1):
            row = rows[(start + direction * distance) % len(rows)]
            if not undecidedOnly or states[row] not in decided:
                self.jump(row)
                return row
        return None

    def _world(self, rows: np.ndarray) -> np.ndarray:
        positions = self._table.points.positions[rows]
        refined = self._scene.GetNodeByID(self._shown.refined)
        return positions if refined is None else toWorld(refined, positions)

    def _showCrosshair(self, position: np.ndarray) -> None:
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is None:
            return
        crosshair.SetCrosshairRAS(position.tolist())
        if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
            crosshair.SetCrosshairMode(crosshair.ShowSmallBasic)
