"""Hears when a result's points are others: a sequence moved, or a box was rendered again. No Qt."""

from collections.abc import Callable
from typing import Any

import vtk

from MorseSegmentLib.scene.nodewatch import NodeWatch
from MorseSegmentLib.scene.record import SceneResult

__all__ = ["PointsWatch"]


class PointsWatch:
    """Observes the point table of a result; what a person says of a point is no change.

    Example::

        watch = PointsWatch(scene, panel.onOtherPoints)
        watch.look(shown)       # None: at nothing
    """

    def __init__(self, scene: vtk.vtkObject, onChange: Callable[[], None]) -> None:
        self._scene, self._onChange = scene, onChange
        self._watch = NodeWatch(self._onModified)
        self._node: Any = None
        self._seen: Any = None

    def look(self, shown: SceneResult | None) -> None:
        """Observe the points of this result, and no longer those of the former."""
        self._node = None if shown is None else self._scene.GetNodeByID(shown.pointTable)
        self._watch.look(self._node)
        self._seen = self._stamp()

    def _stamp(self) -> Any:
        table = None if self._node is None else self._node.GetTable()
        ranks = None if table is None else table.GetColumnByName("rank")
        return None if ranks is None else ranks.GetMTime()

    def _onModified(self) -> None:
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._onChange()
