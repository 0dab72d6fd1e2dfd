"""A finished segmentation as nodes of an MRML scene, in Slicer and without it. No Qt, no torch."""

import numpy as np
import slicer
import vtk

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.scene.cropping import Piece, cropInSteps, keepPoints
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.markups import addPointsInSteps
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
from MorseSegmentLib.scene.segments import (
    addSegmentationInSteps,
    scalarsOf,
    showAsFill,
    showAsOutline,
)
from MorseSegmentLib.scene.stepping import Steps

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
        """Do :meth:`showInSteps` at once."""
        return finished(self.showInSteps(result, inputVolumeNode, name=name))

    def showInSteps(
        self,
        result: Segmentation,
        inputVolumeNode: vtk.vtkObject | None = None,
        *,
        name: str = "MorseSegment",
    ) -> Steps[SceneResult]:
        """Add both masks, the uncertainty and the at most 8192 most uncertain points.

        Everything stands under the input's parent transform and, in the subject hierarchy, in a
        folder under the input. If anything fails, or the steps are closed, the scene is left as it
        was. Maps are cut to what is not empty; what is of no structure of ``result`` is left out.

        :param inputVolumeNode: vtkMRMLVolumeNode that was segmented, if it is in the scene.
        """
        pieces = yield from cropInSteps(result)
        with NodeLedger(self._scene) as ledger:
            nodes = []

            def place(node: vtk.vtkObject) -> vtk.vtkObject:
                nodes.append(node)
                if inputVolumeNode is not None:
                    _attach(node, result.geometry, inputVolumeNode)
                return node

            # Slicer draws in this order: the outline over the fill, the points over both.
            masks = {}
            for role, style in (("refined", showAsFill), ("coarse", showAsOutline)):
                node = yield from addSegmentationInSteps(
                    ledger, f"{name} {role}", pieces[role].values,
                    geometry=result.geometry, structures=result.structures,
                    start=pieces[role].start,
                )  # fmt: skip
                masks[role] = place(node)
                style(node)
                yield
            uncertainty, colors = _addUncertainty(
                ledger, f"{name} uncertainty", pieces["uncertainty"], result.geometry
            )
            place(uncertainty)
            yield
            chosen = keepPoints(result.points, (s.value for s in result.structures))
            glyphSize = _GLYPH_VOXELS * min(result.geometry.spacing)
            points = yield from addPointsInSteps(
                ledger, f"{name} points", chosen, glyphSize=glyphSize
            )
            for node in points:
                place(node)
            table = addPointTable(ledger, f"{name} point table", chosen).node
            yield
            record = addRecord(ledger, name, result)
            filed = [*nodes, table, record]
            folder = self._file(ledger, filed, name=name, under=inputVolumeNode)
            shown = SceneResult(
                coarse=masks["coarse"].GetID(),
                refined=masks["refined"].GetID(),
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
        """Do :meth:`removeInSteps` at once."""
        finished(self.removeInSteps(shown))

    def removeInSteps(self, shown: SceneResult) -> Steps[None]:
        """Remove every node of a result, later ones included, one after the other.

        Those already gone are skipped. If the steps are closed, all go at once.
        """
        hierarchy = hierarchyOf(self._scene)
        # Sequences first, else they make their nodes anew; then the record, by which it is found.
        nodeIDs = [*extraIDs(self._scene, shown), *shown.nodeIDs()]
        try:
            for nodeID in nodeIDs:
                removeExtra(self._scene, nodeID)
                yield
        finally:
            if hierarchy is not None and shown.folder is not None:
                nodes = filter(None, map(self._scene.GetNodeByID, nodeIDs))
                removeFolder(hierarchy, shown.folder, list(nodes))
            removeNodes(self._scene, nodeIDs)

    @staticmethod
    def createSurface(segmentationNode: vtk.vtkObject) -> None:
        """Compute and show the smoothed 3D surface, about a second for a CT of eight organs."""
        segmentationNode.CreateClosedSurfaceRepresentation()
        segmentationNode.GetDisplayNode().SetVisibility3D(True)

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


def _attach(node: vtk.vtkObject, geometry: Geometry, volume: vtk.vtkObject) -> None:
    """Give a node the volume's parent transform; a mask refers to it, as DICOM export needs."""
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    if not node.IsA("vtkMRMLSegmentationNode"):
        return
    if geometry.is_close(geometryOf(volume)):
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    else:  # a finer result keeps its own grid
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volume.GetID())


def _addUncertainty(
    ledger: NodeLedger, name: str, piece: Piece, geometry: Geometry
) -> tuple[vtk.vtkObject, vtk.vtkObject]:
    """A scalar volume (0..1) of a part of the grid, and its own colour table."""
    colors = ledger.make("vtkMRMLColorTableNode", f"{name} colors")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(256)
    for n, color in enumerate(uncertaintyColors(np.linspace(0.0, 1.0, 256))):
        colors.SetColor(n, f"{n / 255:.3f}", *color, 1.0)
    stop = [a + n for a, n in zip(piece.start, piece.values.shape, strict=True)]
    grid = geometry.crop(piece.start, stop)
    volume = ledger.make("vtkMRMLScalarVolumeNode", name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    # Before the voxels: else Slicer first finds out a window of its own, half a second for a CT.
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetAndObserveColorNodeID(colors.GetID())
    image = vtk.vtkImageData()
    image.SetDimensions(*grid.shape[::-1])
    image.GetPointData().SetScalars(scalarsOf(piece.values.astype(np.float32, copy=False)))
    volume.SetAndObserveImageData(image)
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetThreshold(_HIDDEN_BELOW, 1.0)
    display.SetApplyThreshold(True)
    return volume, colors
