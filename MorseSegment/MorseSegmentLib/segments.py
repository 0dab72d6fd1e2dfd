"""Label maps as segmentation nodes: coarse as an outline, refined as a fill."""

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.geometry import Geometry
from MorseCore.result import Structure
from MorseSegmentLib.nodes import NodeLedger

__all__ = ["addSegmentation", "showAsFill", "showAsOutline"]

_LABELS = "Binary labelmap"  # vtkSegmentationConverter's name of the representation


def addSegmentation(
    ledger: NodeLedger,
    name: str,
    labels: np.ndarray,
    *,
    geometry: Geometry,
    structures: Sequence[Structure],
) -> vtk.vtkObject:
    """Make a vtkMRMLSegmentationNode with one segment a structure, also for those without voxels.

    All segments share one image (a layer): writing eight one by one costs a layer each, which
    took four times as long and half a gigabyte more on a 512 x 512 x 200 CT.

    :param labels: (K, J, I) integers; a structure's voxels hold its value.
    :param geometry: grid of ``labels``; it becomes the reference geometry.
    """
    node = ledger.make("vtkMRMLSegmentationNode", name)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(_LABELS)
    segmentation.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(_emptyImage(geometry)),
    )
    layer = _labelImage(labels, geometry)
    for structure in structures:
        segment = slicer.vtkSegment()
        segment.SetName(structure.name)
        segment.SetColor(*structure.color)
        segment.SetLabelValue(structure.value)
        if structure.terminology:
            segment.SetTag(segment.GetTerminologyEntryTagName(), structure.terminology)
        segment.AddRepresentation(_LABELS, layer)
        segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(structure.name))
    node.CreateDefaultDisplayNodes()
    return node


def showAsOutline(node: vtk.vtkObject) -> None:
    """Slices show the border only, thick enough to be seen over a fill."""
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetOpacity2DOutline(1.0)
    display.SetSliceIntersectionThickness(3)


def showAsFill(node: vtk.vtkObject, opacity: float = 0.4) -> None:
    """Slices show the area only; ``opacity`` 0..1 there, and of a later surface."""
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(True)
    display.SetVisibility2DOutline(False)
    display.SetOpacity2DFill(opacity)
    display.SetOpacity3D(opacity)


def _emptyImage(geometry: Geometry) -> vtk.vtkObject:
    """A vtkOrientedImageData of the whole grid, without voxels."""
    image = slicer.vtkOrientedImageData()
    k, j, i = geometry.shape
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
    return image


def _labelImage(labels: np.ndarray, geometry: Geometry) -> vtk.vtkObject:
    """A vtkOrientedImageData of the box that holds all labels, by its extent within the grid."""
    image = _emptyImage(geometry)
    box = _boundingBox(labels)
    (k0, k1), (j0, j1), (i0, i1) = ((axis.start, axis.stop - 1) for axis in box)
    image.SetExtent(i0, i1, j0, j1, k0, k1)
    voxels = np.ascontiguousarray(labels[box])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(voxels.ravel(), deep=True))
    return image


def _boundingBox(labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Slices (K, J, I) around the nonzero voxels; the first voxel if there is none."""
    sides = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        used = np.flatnonzero(labels.any(axis=others))
        sides.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1))
    return sides[0], sides[1], sides[2]
