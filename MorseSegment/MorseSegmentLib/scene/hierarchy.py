"""A result's folder in the subject hierarchy, if the scene has a hierarchy."""

from collections.abc import Sequence

import vtk

from MorseSegmentLib.scene.nodes import letGoOfVoxels

__all__ = ["fileInto", "folderOf", "hierarchyOf", "makeFolder", "removeFolder", "removeItem"]


def hierarchyOf(scene: vtk.vtkObject) -> vtk.vtkObject | None:
    """The scene's vtkMRMLSubjectHierarchyNode, or None."""
    # GetSubjectHierarchyNode() would make one.
    return scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")


def makeFolder(hierarchy: vtk.vtkObject, name: str, under: vtk.vtkObject | None) -> int:
    """Item ID of a new folder under a node's item, or under the scene."""
    parent = hierarchy.GetItemByDataNode(under) if under is not None else 0
    return hierarchy.CreateFolderItem(parent or hierarchy.GetSceneItemID(), name)


def fileInto(hierarchy: vtk.vtkObject, folder: int, node: vtk.vtkObject) -> None:
    """Put a node's item into a folder."""
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folder)
    else:  # only the application adds items by itself
        hierarchy.CreateItem(folder, node)


def folderOf(hierarchy: vtk.vtkObject, node: vtk.vtkObject) -> int | None:
    """The folder that holds a node's item; None if it lies elsewhere."""
    item = hierarchy.GetItemByDataNode(node)
    parent = hierarchy.GetItemParent(item) if item else 0
    return parent if parent and hierarchy.GetItemLevel(parent) == "Folder" else None


def removeItem(hierarchy: vtk.vtkObject, node: vtk.vtkObject) -> None:
    """Remove a node's item, if it has one, but not the node."""
    letGoOfVoxels(node)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)


def removeFolder(hierarchy: vtk.vtkObject, folder: int, nodes: Sequence[vtk.vtkObject]) -> None:
    """Remove the nodes' items and the folder, but not what a person may have put into it."""
    for node in nodes:
        removeItem(hierarchy, node)
    hierarchy.RemoveItem(folder, True, False)  # its data node is the folder's own colour
