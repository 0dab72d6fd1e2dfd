"""Surfaces by marching cubes, and how far two lie apart; needs ``vtk``."""

import importlib.util
from typing import Any

import numpy as np

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry

__all__ = ["check_vtk", "surface_distance", "surface_of"]


def check_vtk() -> None:
    """To be asked before hours of work that end with surfaces.

    :raises MorseError: if vtk is not there.
    """
    if importlib.util.find_spec("vtk") is None:
        raise MorseError("Surfaces need vtk: pip install vtk.")


def surface_of(array: np.ndarray, geometry: Geometry, *, level: float = 0.5) -> Any | None:
    """The surface where a map (K, J, I) crosses ``level``, as vtkPolyData in RAS mm; None if none.

    Beyond the image there is background, so that every surface is closed.

    :raises MorseError: if vtk is not there.
    """
    check_vtk()
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    padded = np.ascontiguousarray(np.pad(array.astype(np.float32), 1))
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.SetOrigin(-1, -1, -1)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
    cubes = vtk.vtkFlyingEdges3D()
    cubes.SetInputData(image)
    cubes.SetValue(0, level)
    cubes.ComputeNormalsOff()
    cubes.Update()
    surface = cubes.GetOutput()
    if not surface.GetNumberOfPoints():
        return None
    world = geometry.to_world(vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(world, deep=True))
    surface.SetPoints(points)
    return surface


def surface_distance(first: Any, second: Any) -> tuple[float, float]:
    """Mean distance in mm between two surfaces, and HD95.

    From each one's vertices to the other surface, not to its vertices. The mean is that of the two
    directions' means, HD95 the larger of the two directions': how fine either mesh is has no say.
    (:mod:`MorseCore.metrics.surface`, whose masks have one grid, takes the mean over all voxels.)
    """
    there, back = _to_surface(first, second), _to_surface(second, first)
    hd95 = max(float(np.percentile(d, 95)) for d in (there, back))
    return float(there.mean() + back.mean()) / 2, hd95


def _to_surface(vertices: Any, surface: Any) -> np.ndarray:
    """(P,) mm."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    locator = vtk.vtkStaticCellLocator()
    locator.SetDataSet(surface)
    locator.BuildLocator()
    points = vtk_to_numpy(vertices.GetPoints().GetData())
    nearest, cell = [0.0, 0.0, 0.0], vtk.reference(0)
    part, squared = vtk.reference(0), vtk.reference(0.0)
    distances = np.empty(len(points))
    for n, point in enumerate(points):
        locator.FindClosestPoint(point, nearest, cell, part, squared)
        distances[n] = float(squared) ** 0.5
    return distances
