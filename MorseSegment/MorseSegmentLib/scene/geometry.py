"""Where a node lies: its grid, and positions between its own RAS and the world. (N, 3) mm."""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.geometry import Geometry

__all__ = ["geometryOf", "toLocal", "toWorld"]


def geometryOf(volumeNode: vtk.vtkObject) -> Geometry:
    """The grid of a vtkMRMLVolumeNode in its own RAS, without its parent transform.

    :raises MorseCore.errors.GeometryError: if the volume is empty or sheared.
    """
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image = volumeNode.GetImageData()
    i, j, k = image.GetDimensions() if image is not None else (0, 0, 0)
    return Geometry((k, j, i), slicer.util.arrayFromVTKMatrix(matrix))


def toWorld(node: vtk.vtkObject, positions: np.ndarray) -> np.ndarray:
    """World RAS of positions in the RAS of a vtkMRMLTransformableNode."""
    return _between(node.GetParentTransformNode(), None, positions)


def toLocal(node: vtk.vtkObject, positions: np.ndarray) -> np.ndarray:
    """Positions in the RAS of a vtkMRMLTransformableNode of world RAS."""
    return _between(None, node.GetParentTransformNode(), positions)


def _between(
    source: vtk.vtkObject | None, target: vtk.vtkObject | None, positions: np.ndarray
) -> np.ndarray:
    values = np.ascontiguousarray(positions, dtype=np.float64).reshape(-1, 3)
    if source is target:
        return values.copy()
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetDataTypeToDouble()
    after.SetDataTypeToDouble()
    before.SetData(numpy_support.numpy_to_vtk(values, deep=True))
    transform.TransformPoints(before, after)
    return numpy_support.vtk_to_numpy(after.GetData()).copy()
