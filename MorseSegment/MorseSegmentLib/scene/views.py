"""Where the slice and 3D views look: at a point, at a structure, at a result. No Qt."""

from collections.abc import Sequence

import numpy as np
import slicer
import vtk

from MorseSegmentLib.scene.geometry import toWorld
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.scene.segments import referenceGeometry, segmentIDs
from MorseSegmentLib.scene.voxels import filledBox, middleVoxel, voxelsOf

__all__ = ["aimCameras", "goTo", "jumpTo", "middleOf", "showSlices"]

_LOOKED_AT = 1 << 21  # voxels; all those of a head at twice the resolution took 0.4 s


def showSlices(scene: vtk.vtkObject, position: Sequence[float]) -> None:
    """Centre every slice view on a place, world RAS mm."""
    centred = slicer.vtkMRMLSliceNode.CenteredJumpSlice
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *position, centred)


def aimCameras(
    scene: vtk.vtkObject, position: np.ndarray, *, distance: float | None = None
) -> None:
    """Let every 3D view's camera look at a place, from the direction in which it stands.

    :param position: (3,) world RAS, mm.
    :param distance: mm from which it looks; None: as far as it is now.
    """
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        camera = scene.GetNthNodeByClass(n, "vtkMRMLCameraNode")
        back = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        if distance is not None:
            back *= distance / max(np.linalg.norm(back), 1e-6)
        wasModifying = camera.StartModify()
        camera.SetFocalPoint(*position)
        camera.SetPosition(*(position + back))
        camera.ResetClippingRange()
        camera.EndModify(wasModifying)


def middleOf(scene: vtk.vtkObject, shown: SceneResult, structure: int) -> np.ndarray | None:
    """A voxel of a structure near its middle, (3,) world RAS mm; None if neither mask has one."""
    for nodeID in (shown.refined, shown.coarse):
        node = scene.GetNodeByID(nodeID)
        place = None if node is None else _middleIn(node, structure)
        if place is not None:
            return place
    return None


def jumpTo(scene: vtk.vtkObject, shown: SceneResult, structure: int) -> bool:
    """Centre every slice view on a structure; False if neither mask has a voxel of it."""
    place = middleOf(scene, shown, structure)
    if place is not None:
        showSlices(scene, place.tolist())
    return place is not None


def goTo(scene: vtk.vtkObject, shown: SceneResult) -> None:
    """Let the slices cut a result's largest structure, and the 3D views look at all of it."""
    node = scene.GetNodeByID(shown.refined)
    rows = readRecord(scene, shown).report.get("structures", [])
    volumes = {row["value"]: row.get("refined_ml", 0.0) for row in rows if "value" in row}
    values = sorted(segmentIDs(node), key=lambda value: -volumes.get(value, 0.0))
    if not any(jumpTo(scene, shown, value) for value in values):
        return  # it is empty
    grid = referenceGeometry(node)
    start, stop = filledBox([node], grid)
    ends = np.array([start[::-1], stop[::-1]], np.float64) - 0.5
    low, high = toWorld(node, grid.to_world(ends))
    radius = np.linalg.norm(high - low) / 2
    angle = np.radians(30.0)  # of Slicer's cameras
    aimCameras(scene, (low + high) / 2, distance=float(radius / np.sin(angle / 2)))


def _middleIn(node: vtk.vtkObject, structure: int) -> np.ndarray | None:
    """A voxel of a structure near its middle, (3,) world RAS mm; None if the mask has none.

    Not Slicer's GetSegmentCenterRAS, which took a second in a whole head, and whose centre lies
    beside a structure that is bent.
    """
    segmentID = segmentIDs(node).get(structure)
    image = None if segmentID is None else node.GetBinaryLabelmapInternalRepresentation(segmentID)
    if image is None or image.IsEmpty():
        return None
    label = node.GetSegmentation().GetSegment(segmentID).GetLabelValue()
    voxels = voxelsOf(image)
    step = max(1, round((voxels.size / _LOOKED_AT) ** (1 / 3)))
    voxel = middleVoxel(voxels[::step, ::step, ::step] == label)
    if voxel is None and step > 1:  # it is small
        voxel, step = middleVoxel(voxels == label), 1
    if voxel is None:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    index = np.add(np.multiply(step, voxel[::-1]), image.GetExtent()[::2])
    local = slicer.util.arrayFromVTKMatrix(matrix) @ [*index, 1.0]
    return toWorld(node, local[:3])[0]
