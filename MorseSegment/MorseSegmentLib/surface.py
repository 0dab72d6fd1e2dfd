"""Surfaces of the field as model nodes, smoother than those of a mask."""

import numpy as np
import vtk
from vtk.util import numpy_support

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.extras import addExtra, removeExtra
from MorseSegmentLib.nodes import NodeLedger
from MorseSegmentLib.record import SceneResult, readRecord
from MorseSegmentLib.undo import UndoStack

__all__ = ["SurfaceWriter", "extractSurface"]

_KIND = "surface"


def extractSurface(
    probability: np.ndarray, geometry: Geometry, level: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Where a probability is ``level``: vertices (V, 3) RAS mm and triangles (T, 3), outwards.

    It is closed at the border of the grid; both are empty if the level is not reached.

    :param probability: (K, J, I), 0..1.
    """
    closed = np.pad(np.asarray(probability, dtype=np.float32), 1)
    image = vtk.vtkImageData()
    image.SetDimensions(*closed.shape[::-1])
    image.SetOrigin(-1.0, -1.0, -1.0)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(closed.ravel(), deep=True))
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, level)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    contour.Update()
    polygons = contour.GetOutput()
    if not polygons.GetNumberOfPolys():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    indices = numpy_support.vtk_to_numpy(polygons.GetPoints().GetData())
    cells = numpy_support.vtk_to_numpy(polygons.GetPolys().GetConnectivityArray())
    triangles = cells.reshape(-1, 3).astype(np.int64)
    if np.linalg.det(geometry.ijk_to_ras[:3, :3]) < 0:
        triangles = triangles[:, ::-1]
    return geometry.to_world(indices.astype(np.float64)), np.ascontiguousarray(triangles)


class SurfaceWriter:
    """Adds surfaces to a result.

    Example::

        undo = UndoStack()
        writer = SurfaceWriter(scene, shown, undo)
        vertices, triangles = extractSurface(probability, geometry, level=0.5)
        modelNode = scene.GetNodeByID(writer.add(vertices, triangles, structure=1))
        undo.undo()                                   # the model is gone
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult, undo: UndoStack) -> None:
        self._scene, self._shown, self._undo = scene, shown, undo

    def add(
        self, vertices: np.ndarray, triangles: np.ndarray, structure: int, title: str = "Surface"
    ) -> str:
        """Make a vtkMRMLModelNode in the structure's colour, in the result's folder; its ID.

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
        with NodeLedger(self._scene) as ledger:
            node = ledger.make("vtkMRMLModelNode", f"{record.name} {name} surface")
            node.SetAndObserveMesh(_polygons(vertices, triangles))
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetColor(*known[structure].color)
            display.SetVisibility2D(True)  # its cut with the slices, as a line
            display.SetSliceIntersectionThickness(2)
            addExtra(self._scene, self._shown, _KIND, node)
        nodeID = node.GetID()
        self._undo.push(title, lambda: removeExtra(self._scene, nodeID))
        return nodeID


def _polygons(vertices: np.ndarray, triangles: np.ndarray) -> vtk.vtkObject:
    points = vtk.vtkPoints()
    points.SetData(
        numpy_support.numpy_to_vtk(np.ascontiguousarray(vertices, np.float32), deep=True)
    )
    cells = vtk.vtkCellArray()
    cells.SetData(3, _connectivity(triangles))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(mesh)
    normals.SplittingOff()  # keeps the vertices
    normals.ConsistencyOff()
    normals.Update()
    return normals.GetOutput()


def _connectivity(triangles: np.ndarray) -> vtk.vtkObject:
    rows = np.ascontiguousarray(triangles, dtype=np.int64).ravel()
    return numpy_support.numpy_to_vtkIdTypeArray(rows, deep=True)
