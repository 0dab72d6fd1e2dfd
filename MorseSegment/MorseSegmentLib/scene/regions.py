"""The boxes in which a model worked, as regions named after what lies in them. No Qt."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import slicer
import vtk

from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.markups import placementKept
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.record import SceneResult, addExtra, extraIDs, findResults, readRecord

__all__ = ["RegionWatch", "addRegions", "regionIDs", "showOutline"]

_KIND = "region"


def addRegions(scene: vtk.vtkObject, shown: SceneResult, volumeNode: vtk.vtkObject) -> None:
    """Add a vtkMRMLMarkupsROINode for each region that the report says was found.

    They stand in the result's folder and go with it. Those of other results are hidden.

    :param volumeNode: the scan, whose voxels the report counts.
    """
    record = readRecord(scene, shown)
    regions = record.report.get("found", {}).get("regions", [])
    for result in findResults(scene) if regions else ():
        for nodeID in regionIDs(scene, result):
            scene.GetNodeByID(nodeID).GetDisplayNode().SetVisibility(False)
    for region in regions:
        with NodeLedger(scene) as ledger, placementKept(scene):
            name = f"{region['name'] or record.name} region"
            node = ledger.make("vtkMRMLMarkupsROINode", name[:1].upper() + name[1:])
            _fit(node, region["roi"], volumeNode)
            showOutline(node)
            addExtra(scene, shown, _KIND, node)


def regionIDs(scene: vtk.vtkObject, shown: SceneResult | None) -> list[str]:
    """IDs of a result's regions that are in the scene."""
    return [] if shown is None else extraIDs(scene, shown, _KIND)


def showOutline(roiNode: vtk.vtkObject) -> None:
    """Show a box by its edges: Slicer fills it, and the fill lies over the masks."""
    roiNode.CreateDefaultDisplayNodes()
    roiNode.GetDisplayNode().SetFillVisibility(False)


def _fit(node: vtk.vtkObject, roi: dict[str, Any], volumeNode: vtk.vtkObject) -> None:
    """Let a vtkMRMLMarkupsROINode be a box of :class:`MorseCore.images.roi.Roi`."""
    lower, upper = np.array(roi["lower"], float), np.array(roi["upper"], float)
    matrix = np.eye(4)
    if roi["frame"] == "ijk":  # along the scan's axes, from the first voxel's face to the last's
        grid = geometryOf(volumeNode)
        matrix[:3, :3] = grid.direction
        matrix[:3, 3] = grid.to_world(((lower + upper) / 2 - 0.5)[None])[0]
        size = (upper - lower) * grid.spacing
    else:
        matrix[:3, 3], size = (lower + upper) / 2, upper - lower
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 0] *= -1  # a box is its own mirror image; a rotation is wanted
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.SetSize(*size)


class RegionWatch:
    """Notices that a person moves one of several boxes.

    Example::

        watch = RegionWatch(scene, onMoved=panel.use)
        watch.look(regionIDs(scene, shown))     # [] for none

    :param onMoved: called with the node, each time.
    """

    def __init__(self, scene: vtk.vtkObject, onMoved: Callable[[vtk.vtkObject], None]) -> None:
        self._scene, self._onMoved = scene, onMoved
        self._boxes: dict[str, tuple[vtk.vtkObject, int, list[float]]] = {}

    def look(self, nodeIDs: Iterable[str]) -> None:
        """Observe these boxes instead of the former ones."""
        wanted = list(nodeIDs)
        if wanted == list(self._boxes):
            return
        for node, tag, _ in self._boxes.values():
            node.RemoveObserver(tag)
        self._boxes = {}
        for nodeID in wanted:
            node = self._scene.GetNodeByID(nodeID)
            tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
            self._boxes[nodeID] = (node, tag, _box(node))

    def _onModified(self, node: vtk.vtkObject, *_event: Any) -> None:
        known = self._boxes.get(node.GetID())
        if known is not None and _box(node) != known[2]:
            self._boxes[node.GetID()] = (known[0], known[1], _box(node))
            self._onMoved(node)


def _box(node: vtk.vtkObject) -> list[float]:
    matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToNodeMatrix())
    return [*np.round(matrix, 3).ravel().tolist(), *np.round(node.GetSize(), 3).tolist()]
