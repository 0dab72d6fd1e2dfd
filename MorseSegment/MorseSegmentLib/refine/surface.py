"""Surfaces of the field as model nodes, smoother than those of a mask."""

import numpy as np
import vtk
from vtk.util import numpy_support

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.record import SceneResult, addExtra, readRecord, removeExtra
from MorseSegmentLib.scene.stepping import Steps, updated

__all__ = ["SurfaceWriter", "extractInSteps"]

_KIND = "surface"
_SLAB = 16  # slices of a probability that are copied at once


def extractInSteps(
    probability: np.ndarray, geometry: Geometry, level: float = 0.5
) -> Steps[tuple[np.ndarray, np.ndarray]]:
    """Where a probability is ``level``: vertices (V, 3) RAS mm and triangles (T, 3), outwards.

    The surface is closed at the border of the grid. Both arrays are empty if no voxel reaches the
    level.

    :param probability: (K, J, I), 0..1.
    """
    closed = np.zeros([n + 2 for n in probability.shape], np.float32)
    for k in range(0, len(probability), _SLAB):
        closed[k + 1 : k + 1 + len(probability[k : k + _SLAB]), 1:-1, 1:-1] = probability[
            k : k + _SLAB
        ]
        yield
    image = vtk.vtkImageData()
    image.SetDimensions(*closed.shape[::-1])
    image.SetOrigin(-1.0, -1.0, -1.0)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(closed.ravel()))  # keeps ``closed``
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, level)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    polygons = yield from updated(contour)
    if not polygons.GetNumberOfPolys():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    indices = numpy_support.vtk_to_numpy(polygons.GetPoints().GetData())
    cells = numpy_support.vtk_to_numpy(polygons.GetPolys().GetConnectivityArray())
    yield
    triangles = cells.reshape(-1, 3).astype(np.int64)
    if np.linalg.det(geometry.ijk_to_ras[:3, :3]) < 0:
        triangles = triangles[:, ::-1]
    yield
    return geometry.to_world(indices.astype(np.float64)), np.ascontiguousarray(triangles)


class SurfaceWriter:
    """Adds surfaces to a result.

    Example::

        undo = UndoStack()
        writer = SurfaceWriter(scene, shown, undo)
        vertices, triangles = yield from extractInSteps(probability, geometry)
        nodeID = yield from writer.addInSteps(vertices, triangles, structure=1)
        undo.undo()                                   # the model is gone
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult, undo: UndoStack) -> None:
        self._scene, self._shown, self._undo = scene, shown, undo

    def addInSteps(
        self, vertices: np.ndarray, triangles: np.ndarray, structure: int, title: str = "Surface"
    ) -> Steps[str]:
        """Make a vtkMRMLModelNode in the structure's colour, in the result's folder; its ID.

        The scene changes in the last step only.

        :param vertices: (V, 3) mm in the RAS of the segmented volume.
        :param triangles: (T, 3) rows of ``vertices``.
        :param structure: its value.
        :param title: for the undo button.
        :raises MorseError: if there is no triangle or no such structure.
        """
        record = readRecord(self._scene, self._shown)
        known = {s.value: s for s in record.structures}
        if structure not in known:
            raise MorseError(f"'{record.name}' has no structure of the value {structure}.")
        name = known[structure].name
        if not len(triangles):
            raise MorseError(f"'{name}' has no surface at this level.")
        mesh = yield from _polygons(vertices, triangles)
        with NodeLedger(self._scene) as ledger:
            node = ledger.make("vtkMRMLModelNode", f"{record.name} {name} surface")
            node.SetAndObserveMesh(mesh)
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetColor(*known[structure].color)
            display.SetVisibility2D(True)  # its cut with the slices, as a line
            display.SetSliceIntersectionThickness(2)
            addExtra(self._scene, self._shown, _KIND, node)
        nodeID, made = node.GetID(), (mesh, mesh.GetMTime())
        self._undo.push(title, lambda: self._takeBack(nodeID, made))
        return nodeID

    def _takeBack(self, nodeID: str, made: tuple[vtk.vtkObject, int]) -> Steps[TakenBack]:
        """Remove the model, unless a person made something else of it."""
        yield
        node = self._scene.GetNodeByID(nodeID)
        if node is None:
            return TakenBack(note="The surface had been removed already.")
        if (node.GetMesh(), node.GetMesh().GetMTime()) != made:
            return TakenBack(note=f"'{node.GetName()}' was edited since, so it stays in the scene.")
        removeExtra(self._scene, nodeID)
        return TakenBack()


def _polygons(vertices: np.ndarray, triangles: np.ndarray) -> Steps[vtk.vtkObject]:
    points = vtk.vtkPoints()
    points.SetData(
        numpy_support.numpy_to_vtk(np.ascontiguousarray(vertices, np.float32), deep=True)
    )
    cells = vtk.vtkCellArray()
    cells.SetData(3, _connectivity(triangles))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    yield
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(mesh)
    normals.SplittingOff()  # keeps the vertices
    normals.ConsistencyOff()
    result = yield from updated(normals)
    return result


def _connectivity(triangles: np.ndarray) -> vtk.vtkObject:
    rows = np.ascontiguousarray(triangles, dtype=np.int64).ravel()
    return numpy_support.numpy_to_vtkIdTypeArray(rows, deep=True)
