"""Observers of the scene: of one node, of a result's points, of its masks. No Qt."""

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import segmentIDs

__all__ = ["MaskWatch", "NodeWatch", "PointsWatch"]


class NodeWatch:
    """Observes one node at a time.

    Example::

        watch = NodeWatch(panel.refresh)
        watch.look(roiNode)     # None: nothing
    """

    def __init__(self, onChange: Callable[[], None]) -> None:
        self._onChange = onChange
        self._node: Any = None
        self._tag = 0

    def look(self, node: Any) -> None:
        """Observe this node instead of the former one."""
        if node is self._node:
            return
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onEvent)

    def _onEvent(self, *_event: Any) -> None:
        self._onChange()


class PointsWatch:
    """Observes the point table of a result. Reviewing a point does not count as a change.

    The points change when a sequence moves, or when a box is rendered again.

    Example::

        watch = PointsWatch(scene, panel.onOtherPoints)
        watch.look(shown)       # None: nothing
    """

    def __init__(self, scene: vtk.vtkObject, onChange: Callable[[], None]) -> None:
        self._scene, self._onChange = scene, onChange
        self._watch = NodeWatch(self._onModified)
        self._node: Any = None
        self._seen: Any = None

    def look(self, shown: SceneResult | None) -> None:
        """Observe the points of this result instead of the former one's."""
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


class MaskWatch:
    """Observes the masks of a result, whatever tool changes them.

    Example::

        watch = MaskWatch(scene, panel.onMasks)
        watch.look(shown)       # None: nothing
        watch.stamp()           # differs if a voxel may differ
        watch.look(None)
    """

    def __init__(self, scene: vtk.vtkObject, onChange: Callable[[], None]) -> None:
        self._scene, self._onChange = scene, onChange
        self._nodes: list[vtk.vtkObject] = []
        self._observed: list[tuple[vtk.vtkObject, int]] = []

    def look(self, shown: SceneResult | None) -> None:
        """Observe the masks of this result instead of the former one's."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed, self._nodes = [], []
        ids = () if shown is None else (shown.coarse, shown.refined)
        for node in filter(None, map(self._scene.GetNodeByID, ids)):
            self._nodes.append(node)
            kind = slicer.vtkSegmentation
            # A sequence browser exchanges all segments at once: that is only a modified node.
            events = (vtk.vtkCommand.ModifiedEvent, kind.SourceRepresentationModified)
            for event in (*events, kind.SegmentAdded, kind.SegmentRemoved):
                self._observed.append((node, node.AddObserver(event, self._onEvent)))

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Segments with the age of their voxels."""
        found = []
        for node in self._nodes:
            for value, segmentID in segmentIDs(node).items():
                image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
                found.append((node.GetID(), value, 0 if image is None else image.GetMTime()))
        return tuple(found)

    def _onEvent(self, *_event: object) -> None:
        self._onChange()
