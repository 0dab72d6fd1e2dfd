"""Nodes made later for a result: surfaces, difference, table. They go when the result goes."""

import vtk

from MorseSegmentLib.scene.hierarchy import fileInto, hierarchyOf, removeItem
from MorseSegmentLib.scene.nodes import removeNodes
from MorseSegmentLib.scene.record import SceneResult

__all__ = ["addExtra", "extraIDs", "removeExtra"]

_ROLE = "MorseSegment.extra."


def addExtra(scene: vtk.vtkObject, shown: SceneResult, kind: str, node: vtk.vtkObject) -> None:
    """Let a node belong to a result: its record, its folder, its parent transform.

    :param kind: a word that :func:`extraIDs` finds it by, also after a reload.
    """
    record, refined = scene.GetNodeByID(shown.record), scene.GetNodeByID(shown.refined)
    if record is not None:
        record.AddNodeReferenceID(_ROLE + kind, node.GetID())
    if refined is not None and node.IsA("vtkMRMLTransformableNode"):
        node.SetAndObserveTransformNodeID(refined.GetTransformNodeID())
    hierarchy = hierarchyOf(scene)
    if hierarchy is not None and shown.folder is not None:
        fileInto(hierarchy, shown.folder, node)


def extraIDs(scene: vtk.vtkObject, shown: SceneResult, kind: str | None = None) -> list[str]:
    """IDs of a result's extra nodes that are in the scene; of one kind, or of all."""
    record = scene.GetNodeByID(shown.record)
    if record is None:
        return []
    roles = [
        record.GetNthNodeReferenceRole(n) for n in range(record.GetNumberOfNodeReferenceRoles())
    ]
    wanted = _ROLE + kind if kind is not None else None
    return [
        node.GetID()
        for role in roles
        if role.startswith(_ROLE) and wanted in (None, role)
        for n in range(record.GetNumberOfNodeReferences(role))
        if (node := record.GetNthNodeReference(role, n)) is not None
    ]


def removeExtra(scene: vtk.vtkObject, nodeID: str) -> None:
    """Remove an extra node with its item, display and storage nodes."""
    node, hierarchy = scene.GetNodeByID(nodeID), hierarchyOf(scene)
    if node is not None and hierarchy is not None:
        removeItem(hierarchy, node)
    removeNodes(scene, [nodeID])
