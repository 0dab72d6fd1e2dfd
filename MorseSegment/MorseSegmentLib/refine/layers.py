"""Voxels of segments inside a box, changed in a copy and put into a segmentation all at once.

Slicer's merge modes go through the whole of a shared image (a layer) for each segment, which took
3 s for a box of 17 million voxels with eight segments, and cannot be divided.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.errors import GeometryError, MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.segments import LABELS
from MorseSegmentLib.scene.voxels import Slices, overlapOf, voxelsOf

__all__ = ["SURFACE", "LayerEdit"]

SURFACE = "Closed surface"
"""vtkSegmentationConverter's name of the representation."""

_NAMES_CHANGED = slicer.vtkSegmentation.ContainedRepresentationNamesModified
_SLAB = 3_000_000  # voxels, times how often they are looked at: some hundredths of a second
_Index = tuple[int, int, int]
_Members = dict[str, int]  # label value in the layer by segment ID


class LayerEdit:
    """New voxels for some segments of a node inside a box; nothing is seen before the commit.

    Example::

        edit = LayerEdit(node, grid, start, stop, ["Liver", "Spleen"])
        for rows in edit.slabs():
            box = (rows, slice(None), slice(None))
            masks = edit.masks(box)                  # {"Liver": (k, J, I) bool, ...}
            masks["Liver"] |= masks["Spleen"]
            masks["Spleen"][:] = False
            edit.setMasks(box, masks)
        edit.commit()

    All other segments keep their voxels, also those that share a layer.

    :param grid: the node's; ``start`` and ``stop``, (K, J, I), name the box in it.
    :param segmentIDs: those that may change; IDs that the node lacks are passed over.
    :raises GeometryError: if one of the segments is on another grid.
    """

    def __init__(
        self,
        node: vtk.vtkObject,
        grid: Geometry,
        start: _Index,
        stop: _Index,
        segmentIDs: Iterable[str],
    ) -> None:
        self._node, self._ids = node, list(segmentIDs)
        self._shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        self._layers = [
            _Layer(image, members, grid, start, stop)
            for image, members in _layersOf(node, self._ids)
        ]
        self.changed: set[str] = set()
        """IDs of the segments to which :meth:`setMasks` gave other voxels."""

    def slabs(self, looks: int = 1) -> Iterator[slice]:
        """Slices of the box along K, each gone through in some hundredths of a second.

        :param looks: how many times a voxel is looked at, beside once for each segment.
        """
        k, j, i = self._shape
        step = max(1, _SLAB // (j * i * (looks + len(self._ids))))
        return (slice(first, min(first + step, k)) for first in range(0, k, step))

    def masks(self, box: Slices) -> dict[str, np.ndarray]:
        """Where each segment is in a part of the box, bool; as set, else as at the beginning."""
        return {
            segmentID: layer.raw[box] == value
            for layer in self._layers
            for segmentID, value in layer.members.items()
        }

    def setMasks(self, box: Slices, masks: Mapping[str, np.ndarray]) -> None:
        """Give segments other voxels in a part of the box; no two of one layer may overlap."""
        for layer in self._layers:
            self.changed.update(layer.setMasks(box, masks))

    def commit(self) -> None:
        """Put everything in place; former surfaces are seen until they are made anew.

        :raises MorseError: if somebody else changed the segmentation since the beginning.
        """
        if self._isStale():
            raise MorseError("The segmentation was edited meanwhile; nothing was changed.")
        segmentation = self._node.GetSegmentation()
        wasModifying = self._node.StartModify()
        try:
            surfaces = _surfacesOf(segmentation)
            for layer in self._layers:
                if layer.touched:
                    layer.put(self._node)
            for segmentID, surface in surfaces.items():  # to Slicer all of a layer are outdated
                segmentation.GetSegment(segmentID).AddRepresentation(SURFACE, surface)
            if surfaces:
                segmentation.InvokeEvent(_NAMES_CHANGED)
            # As Slicer's own writes do; without it, views do not see that an image has grown.
            segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified)
            self._node.Modified()
        finally:
            self._node.EndModify(wasModifying)

    def _isStale(self) -> bool:
        now = _layersOf(self._node, self._ids)
        before = [(layer.image, layer.members) for layer in self._layers]
        return now != before or any(
            layer.image.GetMTime() != layer.modified for layer in self._layers
        )


class _Layer:
    """The part of one image that lies in the box."""

    def __init__(
        self, image: vtk.vtkObject, members: _Members, grid: Geometry, start: _Index, stop: _Index
    ) -> None:
        self.image, self.members, self.modified = image, members, image.GetMTime()
        self._grid, self._start, self._stop = grid, start, stop
        self.touched = self._crowded = False
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        if image.IsEmpty():
            self.raw = np.zeros(shape, np.uint8)
            return
        here, there = self._overlap(grid.crop(start, stop))
        self.raw = np.zeros(shape, voxelsOf(image).dtype)
        self.raw[here] = voxelsOf(image)[there]

    def setMasks(self, box: Slices, masks: Mapping[str, np.ndarray]) -> list[str]:
        """See :meth:`LayerEdit.setMasks`; IDs of the segments that are different now."""
        raw = self.raw[box]
        different = {
            segmentID: mask
            for segmentID, mask in masks.items()
            if segmentID in self.members and (mask != (raw == self.members[segmentID])).any()
        }
        for segmentID in different:
            raw[raw == self.members[segmentID]] = 0
        for segmentID, mask in different.items():
            self._crowded |= bool(raw[mask].any())  # there is a segment that must stay
            raw[mask] = self.members[segmentID]
        self.touched |= bool(different)
        return list(different)

    def put(self, node: vtk.vtkObject) -> None:
        """Write into the image, which grows if it must."""
        if self._crowded:
            self._separateOthers(node)
        if self.image.IsEmpty():
            self._fill(self._start, self.raw)
            return
        here, there = self._overlap(self._grid)
        low = np.minimum([part.start for part in here], self._start)
        high = np.maximum([part.stop for part in here], self._stop)
        mine = tuple(slice(a, b) for a, b in zip(self._start - low, self._stop - low, strict=True))
        if all(part.stop - part.start == n for part, n in zip(here, high - low, strict=True)):
            first = np.array([part.start for part in there])
            mine = tuple(slice(a.start + n, a.stop + n) for a, n in zip(mine, first, strict=True))
            voxelsOf(self.image)[mine] = self.raw
            self.image.GetPointData().GetScalars().Modified()
            self.image.Modified()
            return
        larger = np.zeros(high - low, self.raw.dtype)
        former = (slice(p.start - n, p.stop - n) for p, n in zip(here, low, strict=True))
        larger[tuple(former)] = voxelsOf(self.image)[there]
        larger[mine] = self.raw
        self._fill(tuple(low.tolist()), larger)

    def _separateOthers(self, node: vtk.vtkObject) -> None:
        """Give the other segments of the layer images of their own, so that all can overlap."""
        segmentation = node.GetSegmentation()
        shared = [
            segmentID
            for segmentID in segmentation.GetSegmentIDs()
            if node.GetBinaryLabelmapInternalRepresentation(segmentID) is self.image
        ]
        for segmentID in shared:
            if segmentID not in self.members:
                segmentation.SeparateSegmentLabelmap(segmentID)
        self.raw[~np.isin(self.raw, list(self.members.values()))] = 0

    def _fill(self, start: _Index, voxels: np.ndarray) -> None:
        """Let the image be this box of the grid."""
        (k, j, i), (nk, nj, ni) = start, voxels.shape
        self.image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(self._grid.ijk_to_ras))
        self.image.SetExtent(i, i + ni - 1, j, j + nj - 1, k, k + nk - 1)
        scalars = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True)
        self.image.GetPointData().SetScalars(scalars)
        self.image.Modified()

    def _overlap(self, grid: Geometry) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        shared = overlapOf(self.image, grid)
        if shared is None:
            raise GeometryError(
                f"The segment '{next(iter(self.members))}' is on another grid than its "
                "segmentation; a block cannot be written into it."
            )
        return shared


def _layersOf(
    node: vtk.vtkObject, segmentIDs: Iterable[str]
) -> list[tuple[vtk.vtkObject, _Members]]:
    """The images that hold segments, with the segments and their values; made where missing."""
    found: dict[vtk.vtkObject, _Members] = {}
    for segmentID in segmentIDs:
        segment = node.GetSegmentation().GetSegment(segmentID)
        if segment is None:
            continue
        image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
        if image is None:
            image = slicer.vtkOrientedImageData()
            segment.AddRepresentation(LABELS, image)
        found.setdefault(image, {})[segmentID] = segment.GetLabelValue()
    return list(found.items())


def _surfacesOf(segmentation: vtk.vtkObject) -> dict[str, vtk.vtkObject]:
    found = {}
    for segmentID in segmentation.GetSegmentIDs():
        surface = segmentation.GetSegment(segmentID).GetRepresentation(SURFACE)
        if surface is not None:
            found[segmentID] = surface
    return found
