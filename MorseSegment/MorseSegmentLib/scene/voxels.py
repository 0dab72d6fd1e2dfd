"""Segments of a node as arrays on a grid, (K, J, I) in the node's own RAS."""

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.segments import boundingBox, emptyImage, segmentIDs

__all__ = [
    "Slices", "filledBox", "labelsOf", "middleVoxel", "overlapOf", "voxelsOf",
]  # fmt: skip

_TOUCH = 1e-3  # voxels by which two lattices may differ and still be the same
Slices = tuple[slice, ...]


def labelsOf(node: vtk.vtkObject, geometry: Geometry) -> np.ndarray:
    """Label map of all structures of a segmentation, whatever a person added to it.

    Where a person let segments overlap, one of them is taken.
    """
    ids = segmentIDs(node)
    labels = np.zeros(geometry.shape, np.uint8 if max(ids, default=0) < 256 else np.uint16)
    layers: dict[vtk.vtkObject, dict[int, int]] = {}
    for value, segmentID in ids.items():
        image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
        if image is not None and not image.IsEmpty():
            inLayer = node.GetSegmentation().GetSegment(segmentID).GetLabelValue()
            layers.setdefault(image, {})[inLayer] = value
    for image, meaning in layers.items():
        overlap = overlapOf(image, geometry)
        if overlap is None:
            return _resampled(node, ids, geometry).astype(labels.dtype)
        here, there = overlap
        voxels = voxelsOf(image)[there]
        table = np.zeros(max(int(voxels.max(initial=0)), *meaning) + 1, labels.dtype)
        table[list(meaning)] = list(meaning.values())
        found = table[voxels]
        np.copyto(labels[here], found, where=found > 0)
    return labels


def filledBox(
    nodes: Sequence[vtk.vtkObject], grid: Geometry
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A box (start, stop), both (K, J, I), outside of which no segment of the nodes has a voxel.

    At least one voxel; all of ``grid`` if a segment is on another grid.
    """
    low, high = np.asarray(grid.shape), np.zeros(3, int)
    for node in nodes:
        for segmentID in node.GetSegmentation().GetSegmentIDs():
            image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
            if image is None or image.IsEmpty():
                continue
            overlap = overlapOf(image, grid)
            if overlap is None:
                return (0, 0, 0), grid.shape
            low = np.minimum(low, [part.start for part in overlap[0]])
            high = np.maximum(high, [part.stop for part in overlap[0]])
    low = np.minimum(low, np.asarray(grid.shape) - 1)
    high = np.maximum(high, low + 1)
    return tuple(low.tolist()), tuple(high.tolist())


def overlapOf(image: vtk.vtkObject, geometry: Geometry) -> tuple[Slices, Slices] | None:
    """What a vtkOrientedImageData and a grid share, in each; None if the lattices differ."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toGrid = np.linalg.inv(geometry.ijk_to_ras) @ slicer.util.arrayFromVTKMatrix(matrix)
    offset = np.rint(toGrid[:3, 3])
    extent = np.reshape(image.GetExtent(), (3, 2))
    # How far the corners are from where whole steps of one voxel would lead.
    drift = np.abs(toGrid[:3, :3] - np.eye(3)) @ np.abs(extent).max(axis=1)
    if (drift + np.abs(toGrid[:3, 3] - offset) > _TOUCH).any():
        return None
    first = (extent[:, 0] + offset)[::-1].astype(int)
    last = (extent[:, 1] + offset)[::-1].astype(int)
    low = np.clip(first, 0, geometry.shape)
    high = np.clip(last + 1, low, geometry.shape)
    here = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    there = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    return here, there


def voxelsOf(image: vtk.vtkObject) -> np.ndarray:
    """(K, J, I) view of a vtkOrientedImageData."""
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(image.GetDimensions()[::-1])


def middleVoxel(mask: np.ndarray) -> tuple[int, int, int] | None:
    """A voxel (k, j, i) of a mask near the middle of its box; None if it has none."""
    box = boundingBox(mask)
    mask, start = mask[box], [side.start for side in box]
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slices.size:
        return None
    k = int(slices[np.abs(slices - (len(mask) - 1) / 2).argmin()])
    inside = np.argwhere(mask[k])
    off = inside - (np.array(mask.shape[1:]) - 1) / 2
    j, i = inside[(off**2).sum(axis=1).argmin()].tolist()
    return start[0] + k, start[1] + j, start[2] + i


def _resampled(node: vtk.vtkObject, ids: dict[int, str], geometry: Geometry) -> np.ndarray:
    """Label map of segments on other grids, by Slicer's nearest neighbour."""
    values, names = vtk.vtkIntArray(), vtk.vtkStringArray()
    for value, segmentID in ids.items():
        values.InsertNextValue(value)
        names.InsertNextValue(segmentID)
    merged = slicer.vtkOrientedImageData()
    extent = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    grid = emptyImage(geometry)
    node.GenerateMergedLabelmapForAllSegments(merged, extent, grid, names, values)
    return voxelsOf(merged)
