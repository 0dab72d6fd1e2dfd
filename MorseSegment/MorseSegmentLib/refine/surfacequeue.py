"""Updates the surfaces of changed segments one by one, while Slicer stays responsive. No Qt."""

from collections.abc import Iterable

import numpy as np
import slicer
import vtk

from MorseSegmentLib.refine.layers import SURFACE
from MorseSegmentLib.scene.cropping import slabs
from MorseSegmentLib.scene.masks import Box, boxesOf
from MorseSegmentLib.scene.segments import LABELS, scalarsOf
from MorseSegmentLib.scene.stepping import Later, StepRunner, Steps, imported, updated
from MorseSegmentLib.scene.voxels import voxelsOf

__all__ = ["SurfaceQueue"]

_RULE = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule
_UNUSUAL = (
    _RULE.GetDecimationFactorParameterName(),
    _RULE.GetJointSmoothingParameterName(),
    _RULE.GetConversionMethodParameterName(),
)


class SurfaceQueue:
    """Brings the 3D surfaces of segmentations up to date.

    Example::

        queue = SurfaceQueue(scene, later=lambda f: qt.QTimer.singleShot(0, f))
        queue.add(segmentationNode, ["Liver"])

    Segments that show no surface are passed over. All at once, a CT of eight organs takes 1.5 s.

    :param later: None: everything is done at once.
    """

    def __init__(self, scene: vtk.vtkObject, later: Later | None) -> None:
        self._scene, self._stepper = scene, StepRunner(later, turn=0)
        self._waiting: list[tuple[str, str]] = []

    @property
    def isBusy(self) -> bool:
        """Whether a surface is outdated."""
        return self._stepper.isBusy

    def add(self, node: vtk.vtkObject, segmentIDs: Iterable[str]) -> None:
        """Update the surfaces of these segments, whose voxels have changed."""
        for segmentID in segmentIDs:
            entry = (node.GetID(), segmentID)
            if entry in self._waiting:  # what was begun is outdated
                self._waiting.remove(entry)
            self._waiting.append(entry)
        if self._waiting:
            self._stepper.start(self._work(), lambda _: None, self._failed)

    def show(self, node: vtk.vtkObject) -> None:
        """Make the surfaces that a segmentation lacks, one after the other."""
        segmentation = node.GetSegmentation()
        lacking = [
            segmentID
            for segmentID in segmentation.GetSegmentIDs()
            if segmentation.GetSegment(segmentID).GetRepresentation(SURFACE) is None
        ]
        for segmentID in lacking:  # Slicer takes it that all segments have the same kinds
            segmentation.GetSegment(segmentID).AddRepresentation(SURFACE, vtk.vtkPolyData())
        if lacking:
            segmentation.InvokeEvent(slicer.vtkSegmentation.ContainedRepresentationNamesModified)
            node.GetDisplayNode().SetVisibility3D(True)
            self.add(node, lacking)

    def clear(self) -> None:
        """Drop all waiting work."""
        self._stepper.stop()
        self._waiting.clear()

    def _failed(self, error: Exception) -> None:
        self._waiting.clear()
        raise error

    def _work(self) -> Steps[None]:
        boxes = _LayerBoxes()
        while self._waiting:
            nodeID, segmentID = self._waiting[0]
            node = self._scene.GetNodeByID(nodeID)
            segmentation = None if node is None else node.GetSegmentation()
            segment = None if segmentation is None else segmentation.GetSegment(segmentID)
            if segment is not None and segment.GetRepresentation(SURFACE) is not None:
                surface = yield from _surfaceInSteps(segmentation, segment, boxes)
                # Slicer drops the surface itself when a person edits the voxels.
                if segment.GetRepresentation(SURFACE) is not None:
                    segment.AddRepresentation(SURFACE, surface)
                    event = slicer.vtkSegmentation.RepresentationModified
                    segmentation.InvokeEvent(event)
            self._waiting.remove((nodeID, segmentID))
            yield


class _LayerBoxes:
    """Where in its image a label lies; an image that several segments share is searched once."""

    def __init__(self) -> None:
        self._known: dict[tuple[vtk.vtkObject, int], dict[int, Box]] = {}

    def find(self, segment: vtk.vtkObject) -> Steps[Box]:
        """The box of a segment's voxels; of an empty one, the first voxel."""
        image = segment.GetRepresentation(LABELS)
        key = image, image.GetMTime()
        if key not in self._known:
            yield from imported("scipy.ndimage")
            voxels, boxes = voxelsOf(image), {}
            for first, last in slabs(voxels.shape):
                boxesOf(voxels[first:last], first, boxes)
                yield
            self._known[key] = boxes
        return self._known[key].get(segment.GetLabelValue(), (slice(0, 1),) * 3)


def _surfaceInSteps(
    segmentation: vtk.vtkObject, original: vtk.vtkObject, boxes: _LayerBoxes
) -> Steps[vtk.vtkObject]:
    """The vtkPolyData that Slicer would make of a segment; it cannot be told to pause itself."""
    segment = yield from _croppedInSteps(original, boxes)
    # Decimated or joint surfaces are a person's own choice: those are Slicer's, in one piece.
    if any(_number(segmentation, name) for name in _UNUSUAL):
        return _converted(segmentation, segment)
    image = segment.GetRepresentation(LABELS)
    contour = vtk.vtkDiscreteFlyingEdges3D()
    contour.SetInputData(_inVoxels(image))
    contour.SetValue(0, 1)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    mesh = yield from updated(contour)
    smoothing = _number(segmentation, _RULE.GetSmoothingFactorParameterName())
    if smoothing > 0 and mesh.GetNumberOfPolys():
        mesh = yield from updated(_smoother(mesh, smoothing))
    mesh = yield from updated(_toWorld(mesh, image))
    if _number(segmentation, _RULE.GetComputeSurfaceNormalsParameterName()):
        normals = vtk.vtkPolyDataNormals()
        normals.SetInputData(mesh)
        normals.SplittingOff()
        mesh = yield from updated(normals)
    return mesh


def _number(segmentation: vtk.vtkObject, parameter: str) -> float:
    return float(segmentation.GetConversionParameter(parameter) or 0)


def _croppedInSteps(segment: vtk.vtkObject, boxes: _LayerBoxes) -> Steps[vtk.vtkObject]:
    """A vtkSegment of the same voxels alone, as 0 and 1, with a margin of one voxel."""
    layer = segment.GetRepresentation(LABELS)
    image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    if not layer.IsEmpty():
        box, extent = (yield from boxes.find(segment)), layer.GetExtent()
        found = voxelsOf(layer)[box]
        voxels = np.zeros([n + 2 for n in found.shape], np.uint8)
        for first, last in slabs(found.shape):
            inside = voxels[first + 1 : last + 1, 1:-1, 1:-1]
            np.equal(found[first:last], segment.GetLabelValue(), out=inside.view(bool))
            yield
        first = [extent[2 * axis] + box[2 - axis].start - 1 for axis in range(3)]
        last = [a + n - 1 for a, n in zip(first, voxels.shape[::-1], strict=True)]
        image.SetExtent(first[0], last[0], first[1], last[1], first[2], last[2])
        image.GetPointData().SetScalars(scalarsOf(voxels))
    copy = slicer.vtkSegment()
    copy.SetLabelValue(1)
    copy.AddRepresentation(LABELS, image)
    return copy


def _converted(segmentation: vtk.vtkObject, segment: vtk.vtkObject) -> vtk.vtkObject:
    alone = slicer.vtkSegmentation()
    alone.SetSourceRepresentationName(LABELS)
    alone.CopyConversionParameters(segmentation)
    alone.AddSegment(segment, "alone")
    alone.CreateRepresentation(SURFACE, True)
    return segment.GetRepresentation(SURFACE)


def _inVoxels(image: vtk.vtkObject) -> vtk.vtkObject:
    """The same image without its place in the world."""
    plain = vtk.vtkImageData()
    plain.SetExtent(image.GetExtent())
    plain.GetPointData().SetScalars(image.GetPointData().GetScalars())
    return plain


def _smoother(mesh: vtk.vtkObject, factor: float) -> vtk.vtkObject:
    """Slicer's filter for its smoothing factor, 0..1 (vtkBinaryLabelmapToClosedSurface...)."""
    smoother = vtk.vtkWindowedSincPolyDataFilter()
    smoother.SetInputData(mesh)
    smoother.SetNumberOfIterations(int(20 + 40 * factor))
    smoother.SetPassBand(10.0 ** (-4.0 * factor))
    smoother.BoundarySmoothingOff()
    smoother.FeatureEdgeSmoothingOff()
    smoother.NonManifoldSmoothingOn()
    smoother.NormalizeCoordinatesOn()
    return smoother


def _toWorld(mesh: vtk.vtkObject, image: vtk.vtkObject) -> vtk.vtkObject:
    matrix, toWorld = vtk.vtkMatrix4x4(), vtk.vtkTransform()
    image.GetImageToWorldMatrix(matrix)
    toWorld.SetMatrix(matrix)
    mover = vtk.vtkTransformPolyDataFilter()
    mover.SetInputData(mesh)
    mover.SetTransform(toWorld)
    return mover
