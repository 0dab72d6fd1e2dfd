"""A finished segmentation as nodes of an MRML scene, in Slicer and without it. No Qt, no torch."""

import numpy as np
import slicer
import vtk

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.markups import addPoints
from MorseSegmentLib.scene.nodes import (
    NodeLedger,
    fileInto,
    hierarchyOf,
    makeFolder,
    removeFolder,
    removeNodes,
)
from MorseSegmentLib.scene.palette import uncertaintyColors
from MorseSegmentLib.scene.pointtable import addPointTable
from MorseSegmentLib.scene.record import SceneResult, addRecord, extraIDs, recordNodes, removeExtra
from MorseSegmentLib.scene.segments import addSegmentation, showAsFill, showAsOutline

__all__ = ["SceneWriter"]

_GLYPH_VOXELS = 0.5  # diameter of a point, in voxels of the finest axis
_HIDDEN_BELOW = 0.05  # an overlay should not paint what the network is sure of


class SceneWriter:
    """Shows results in a scene and takes them out again.

    Example::

        writer = SceneWriter(slicer.mrmlScene)
        shown = writer.show(result, inputVolumeNode, name="Liver")
        writer.createSurface(slicer.mrmlScene.GetNodeByID(shown.refined))
        writer.remove(shown)

    :param scene: vtkMRMLScene.
    """

    def __init__(self, scene: vtk.vtkObject) -> None:
        self._scene = scene

    def show(
        self,
        result: Segmentation,
        inputVolumeNode: vtk.vtkObject | None = None,
        *,
        name: str = "MorseSegment",
    ) -> SceneResult:
        """Add both masks, the uncertainty and the at most 8192 most uncertain points.

        Everything stands under the input's parent transform and, in the subject hierarchy, in a
        folder under the input. If anything fails, the scene is left as it was.

        :param inputVolumeNode: vtkMRMLVolumeNode that was segmented, if it is in the scene.
        """
        with NodeLedger(self._scene) as ledger:
            # Slicer draws in this order: the outline over the fill, the points over both.
            refined = self._addMask(ledger, f"{name} refined", result, result.refined)
            showAsFill(refined)
            coarse = self._addMask(ledger, f"{name} coarse", result, result.coarse)
            showAsOutline(coarse)
            uncertainty, colors = _addUncertainty(ledger, f"{name} uncertainty", result)
            glyphSize = _GLYPH_VOXELS * min(result.geometry.spacing)
            points = addPoints(ledger, f"{name} points", result.points, glyphSize=glyphSize)
            table = addPointTable(ledger, f"{name} point table", result.points).node
            record = addRecord(ledger, name, result)
            placed = [refined, coarse, uncertainty, *points]
            if inputVolumeNode is not None:
                _attach(placed, result.geometry, inputVolumeNode)
            filed = [*placed, table, record]
            folder = self._file(ledger, filed, name=name, under=inputVolumeNode)
            shown = SceneResult(
                coarse=coarse.GetID(),
                refined=refined.GetID(),
                uncertainty=uncertainty.GetID(),
                uncertaintyColors=colors.GetID(),
                points=tuple(node.GetID() for node in points),
                pointTable=table.GetID(),
                record=record.GetID(),
                folder=folder,
            )
            recordNodes(record, shown, inputVolumeNode)
            return shown

    def remove(self, shown: SceneResult) -> None:
        """Remove every node of a result, later ones included; those already gone are skipped."""
        for nodeID in extraIDs(self._scene, shown):
            removeExtra(self._scene, nodeID)
        hierarchy = hierarchyOf(self._scene)
        if hierarchy is not None and shown.folder is not None:
            nodes = [self._scene.GetNodeByID(nodeID) for nodeID in shown.nodeIDs()]
            removeFolder(hierarchy, shown.folder, [node for node in nodes if node is not None])
        removeNodes(self._scene, shown.nodeIDs())

    @staticmethod
    def createSurface(segmentationNode: vtk.vtkObject) -> None:
        """Compute and show the smoothed 3D surface, about a second for a CT of eight organs."""
        segmentationNode.CreateClosedSurfaceRepresentation()
        segmentationNode.GetDisplayNode().SetVisibility3D(True)

    @staticmethod
    def _addMask(
        ledger: NodeLedger, name: str, result: Segmentation, labels: np.ndarray
    ) -> vtk.vtkObject:
        return addSegmentation(
            ledger, name, labels, geometry=result.geometry, structures=result.structures
        )

    def _file(
        self,
        ledger: NodeLedger,
        nodes: list[vtk.vtkObject],
        *,
        name: str,
        under: vtk.vtkObject | None,
    ) -> int | None:
        """Put the nodes into a folder under the input's item; the folder's item ID."""
        hierarchy = hierarchyOf(self._scene)
        if hierarchy is None:
            return None
        folder = makeFolder(hierarchy, name, under)
        ledger.onError(lambda: removeFolder(hierarchy, folder, nodes))
        for node in nodes:
            fileInto(hierarchy, folder, node)
        return folder


def _attach(nodes: list[vtk.vtkObject], geometry: Geometry, volume: vtk.vtkObject) -> None:
    """Give the nodes the volume's parent transform; masks refer to it, as DICOM export needs."""
    onItsGrid = geometry.is_close(geometryOf(volume))
    for node in nodes:
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        if not node.IsA("vtkMRMLSegmentationNode"):
            continue
        if onItsGrid:
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        else:  # a finer result keeps its own grid
            node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volume.GetID())


def _addUncertainty(
    ledger: NodeLedger, name: str, result: Segmentation
) -> tuple[vtk.vtkObject, vtk.vtkObject]:
    """A scalar volume (0..1) and its own colour table."""
    colors = ledger.make("vtkMRMLColorTableNode", f"{name} colors")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(256)
    for n, color in enumerate(uncertaintyColors(np.linspace(0.0, 1.0, 256))):
        colors.SetColor(n, f"{n / 255:.3f}", *color, 1.0)
    volume = ledger.make("vtkMRMLScalarVolumeNode", name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(result.geometry.ijk_to_ras))
    # Before the voxels: else Slicer first finds out a window of its own, half a second for a CT.
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetAndObserveColorNodeID(colors.GetID())
    slicer.util.updateVolumeFromArray(volume, result.uncertainty.astype(np.float32, copy=False))
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetThreshold(_HIDDEN_BELOW, 1.0)
    display.SetApplyThreshold(True)
    return volume, colors
