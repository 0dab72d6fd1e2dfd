"""A new box, ready to be dragged to its place; and the volume that a person means. No Qt."""

import vtk

from MorseSegmentLib.scene.record import findResults

__all__ = ["activeVolumeID", "fitBox"]


def fitBox(roiNode: vtk.vtkObject, volumeNode: vtk.vtkObject, share: float = 0.5) -> None:
    """Put a vtkMRMLMarkupsROINode into the middle of a volume, ``share`` as long along each axis.

    A new box would otherwise have no size, and its handles could not be seen.
    """
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
    roiNode.SetXYZ(*((low + high) / 2 for low, high in pairs))
    roiNode.SetRadiusXYZ(*(share * (high - low) / 2 for low, high in pairs))
    roiNode.CreateDefaultDisplayNodes()


def activeVolumeID(scene: vtk.vtkObject) -> str:
    """ID of the image that was loaded or shown last; empty if it is none that one segments."""
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    nodeID = selection.GetActiveVolumeID() if selection is not None else None
    node = scene.GetNodeByID(nodeID) if nodeID else None
    own = {result.uncertainty for result in findResults(scene)}
    if node is None or nodeID in own or node.GetClassName() != "vtkMRMLScalarVolumeNode":
        return ""
    return str(nodeID)
