"""The input that the worker gets: voxels, their grid and a region; and which volume is proposed.

The worker knows no transforms. Everything is given in the volume's own RAS, without its parent
transform. Results are put under the same transform.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk

import MorseCore
from MorseCore.errors import ConfigError, ImageError, MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.geometry import geometryOf, toLocal, toWorld
from MorseSegmentLib.scene.record import findResults
from MorseSegmentLib.scene.regions import showOutline
from MorseSegmentLib.scene.stepping import Steps

__all__ = [
    "SAMPLE",
    "InputVolume",
    "activeVolumeID",
    "fitBox",
    "modalityOf",
    "readVolume",
    "regionText",
    "writeInSteps",
]

SAMPLE = Path(MorseCore.__file__).parent / "samples" / "head-t1.nii.gz"
"""A head to try things on; its source stands beside it."""

_PIECE = 8 << 20  # bytes; a few milliseconds


@dataclass(frozen=True, eq=False)
class InputVolume:
    """A volume to segment.

    Example::

        volume = readVolume(volumeNode)
        np.save(path, volume.array)
        request = Segment(id=1, image=str(path), ijk_to_ras=volume.matrix, ...,
                          roi=regionText(roiNode, volumeNode))
    """

    name: str
    array: np.ndarray
    """(K, J, I), a view of the node's voxels: copy it before the person goes on editing."""
    geometry: Geometry
    """Grid in the volume's own RAS, without its parent transform."""
    modality: str = ""
    """DICOM's code (CT, MR, …); empty if Slicer does not know it."""

    @property
    def matrix(self) -> tuple[tuple[float, ...], ...]:
        """Voxel indices (i, j, k) to RAS, by rows, as in the protocol."""
        return tuple(tuple(row) for row in self.geometry.ijk_to_ras.tolist())


def readVolume(volumeNode: vtk.vtkObject | None) -> InputVolume:
    """The voxels of a vtkMRMLScalarVolumeNode, also of a single slice.

    :raises MorseError: with what to do, if the node cannot be segmented.
    """
    if volumeNode is None:
        raise MorseError("Choose a volume to segment.")
    name = volumeNode.GetName()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise ImageError(f"'{name}' is a label map; choose the image that it was drawn on.")
    if not volumeNode.IsA("vtkMRMLVolumeNode") or volumeNode.GetImageData() is None:
        raise ImageError(f"'{name}' holds no image; choose another volume.")
    if 0 in volumeNode.GetImageData().GetDimensions():
        raise ImageError(f"'{name}' holds no voxels; choose another volume.")
    components = volumeNode.GetImageData().GetNumberOfScalarComponents()
    if components != 1:
        raise ImageError(
            f"'{name}' has {components} values in each voxel; make a volume with one of them in "
            "the module Vector to Scalar Volume and choose that."
        )
    _checkLinear(volumeNode)
    return InputVolume(
        name,
        slicer.util.arrayFromVolume(volumeNode),
        geometryOf(volumeNode),
        modalityOf(volumeNode),
    )


def modalityOf(volumeNode: vtk.vtkObject) -> str:
    """DICOM's code of what a volume was read from; empty if Slicer does not know it."""
    scene = volumeNode.GetScene()
    # Not GetSubjectHierarchyNode(), which would make one.
    tree = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene is not None else None
    item = tree.GetItemByDataNode(volumeNode) if tree is not None else 0
    if not item:
        return ""
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return str(tree.GetItemAttribute(item, name))


def regionText(
    roiNode: vtk.vtkObject | None, volumeNode: vtk.vtkObject, *, check: bool = True
) -> str | None:
    """A box drawn in the views as the protocol's ``roi``: RAS mm, of the volume; None for no box.

    It is the smallest upright box that holds the drawn one, which may be turned, as may be the
    volume.

    :param roiNode: vtkMRMLMarkupsROINode.
    :param check: whether a box outside of the volume is refused.
    :raises MorseError: if the box is empty or outside, or a transform is not linear.
    """
    if roiNode is None:
        return None
    size = np.asarray(roiNode.GetSize(), dtype=np.float64)
    if roiNode.GetNumberOfControlPoints() < 1 or not (size > 0).all():
        raise ConfigError(
            f"The region '{roiNode.GetName()}' is empty; draw a box in the views or choose none."
        )
    _checkLinear(roiNode)
    _checkLinear(volumeNode)
    halves = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size
    objectToNode = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToNodeMatrix())
    corners = halves @ objectToNode[:3, :3].T + objectToNode[:3, 3]
    local = toLocal(volumeNode, toWorld(roiNode, corners))
    bounds = np.stack([local.min(axis=0), local.max(axis=0)], axis=1)
    text = ",".join(f"{value:.9f}" for value in bounds.ravel())
    if check:
        from MorseCore.images.roi import parse_roi, roi_to_box

        roi_to_box(parse_roi(text), geometryOf(volumeNode))
    return text


def _checkLinear(node: vtk.vtkObject) -> None:
    parent = node.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        raise MorseError(
            f"'{node.GetName()}' is under the transform '{parent.GetName()}', which bends space; "
            "harden it first (module Data, right click, Harden transform)."
        )


def fitBox(roiNode: vtk.vtkObject, volumeNode: vtk.vtkObject, share: float = 0.5) -> None:
    """Put a vtkMRMLMarkupsROINode into the middle of a volume, ``share`` as long along each axis.

    A new box would otherwise have no size, and its handles could not be seen.
    """
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
    roiNode.SetXYZ(*((low + high) / 2 for low, high in pairs))
    roiNode.SetRadiusXYZ(*(share * (high - low) / 2 for low, high in pairs))
    showOutline(roiNode)


def activeVolumeID(scene: vtk.vtkObject) -> str:
    """ID of the image that was loaded or shown last; empty if it is none that one segments."""
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    nodeID = selection.GetActiveVolumeID() if selection is not None else None
    node = scene.GetNodeByID(nodeID) if nodeID else None
    own = {result.uncertainty for result in findResults(scene)}
    if node is None or nodeID in own or node.GetClassName() != "vtkMRMLScalarVolumeNode":
        return ""
    return str(nodeID)


def writeInSteps(path: Path, voxels: np.ndarray, *, piece: int = _PIECE) -> Steps[None]:
    """Write an array; each step of the iterator writes about ``piece`` bytes.

    :param voxels: (K, J, I); not to be changed meanwhile.
    To be closed if it is not run to its end: Windows keeps a file that is open.

    :raises OSError: if the disk is full, whatever was written is of no use then.
    """
    array = np.ascontiguousarray(voxels)
    with path.open("wb") as stream:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(stream, header)
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, piece):
            stream.write(flat[start : start + piece].data)
            yield
