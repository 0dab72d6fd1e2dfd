"""The record of a result in the scene, by which it is found again after save and reload.

A text node holds the report and the structures as JSON, and refers to every node of the result.
It also refers to what is made for the result later: surfaces, difference, table. These extra nodes
are removed together with the result.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import vtk

from MorseCore.errors import MorseError
from MorseCore.result import Segmentation, Structure
from MorseSegmentLib.scene.nodes import (
    NodeLedger,
    fileInto,
    folderOf,
    hierarchyOf,
    removeItem,
    removeNodes,
)

__all__ = [
    "SEQUENCE",
    "ResultRecord",
    "SceneResult",
    "addExtra",
    "addRecord",
    "extraIDs",
    "findResults",
    "readRecord",
    "recordNodes",
    "removeExtra",
]

_PREFIX = "MorseSegment."
_VERSION = 1
_SINGLE = ("coarse", "refined", "uncertainty", "uncertaintyColors", "pointTable")
_ESSENTIAL = ("coarse", "refined", "pointTable")
_EXTRA = "MorseSegment.extra."
SEQUENCE = "sequence"
"""Kind of the extra nodes that hold the results of all frames."""


@dataclass(frozen=True)
class SceneResult:
    """IDs of the nodes that show one result; empty for a node that is gone."""

    coarse: str
    refined: str
    uncertainty: str
    uncertaintyColors: str
    points: tuple[str, ...]
    """Five markups nodes, from the least to the most uncertain."""
    pointTable: str
    """vtkMRMLTableNode, see :mod:`MorseSegmentLib.scene.pointtable`."""
    record: str
    """vtkMRMLTextNode that names the others."""
    folder: int | None
    """Subject hierarchy item that holds them; None where there is no subject hierarchy."""

    def nodeIDs(self) -> Iterator[str]:
        """Every node made, those that refer to others first."""
        yield self.record
        yield from self.points
        yield from (self.coarse, self.refined, self.uncertainty, self.uncertaintyColors)
        yield self.pointTable


@dataclass(frozen=True)
class ResultRecord:
    """What a result says about itself."""

    name: str
    structures: tuple[Structure, ...]
    report: dict[str, Any]
    input: str
    """ID of the segmented vtkMRMLVolumeNode; empty if it is not in the scene."""


def addRecord(ledger: NodeLedger, name: str, result: Segmentation) -> vtk.vtkObject:
    """Make the vtkMRMLTextNode of a result; see :func:`recordNodes`."""
    node = ledger.make("vtkMRMLTextNode", f"{name} record")
    structures = [structure.to_dict() for structure in result.structures]
    content = {
        "morsesegment_result": _VERSION,
        "name": name,
        "structures": structures,
        "report": result.report,
    }
    node.SetText(json.dumps(content, ensure_ascii=False, indent=1))
    node.SetAttribute(f"{_PREFIX}Result", str(_VERSION))
    return node


def recordNodes(
    record: vtk.vtkObject, shown: SceneResult, inputVolumeNode: vtk.vtkObject | None
) -> None:
    """Let the record refer to the result's nodes; Slicer keeps references when IDs change."""
    for role in _SINGLE:
        record.SetNodeReferenceID(_PREFIX + role, getattr(shown, role))
    for nodeID in shown.points:
        record.AddNodeReferenceID(_PREFIX + "points", nodeID)
    if inputVolumeNode is not None:
        record.SetNodeReferenceID(_PREFIX + "input", inputVolumeNode.GetID())


def findResults(scene: vtk.vtkObject) -> list[SceneResult]:
    """The results in a scene, the oldest first, also after a reload.

    A result whose masks or point table have been removed is not listed.
    """
    nodes = (
        scene.GetNthNodeByClass(n, "vtkMRMLTextNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode"))
    )
    records = [node for node in nodes if node.GetAttribute(f"{_PREFIX}Result")]
    complete = [
        node
        for node in records
        if all(node.GetNodeReference(_PREFIX + role) for role in _ESSENTIAL)
    ]
    return [_shownBy(scene, node) for node in complete]


def readRecord(scene: vtk.vtkObject, shown: SceneResult) -> ResultRecord:
    """Name, structures and report of a result.

    :raises MorseError: if its record is gone or was written by a newer version.
    """
    node = scene.GetNodeByID(shown.record)
    if node is None:
        raise MorseError("The result's record is no longer in the scene.")
    try:
        content = json.loads(node.GetText() or "")
        version = content["morsesegment_result"]
        structures = tuple(map(Structure.from_dict, content["structures"]))
        name, report = content["name"], dict(content["report"])
    except (ValueError, KeyError, TypeError) as error:
        raise MorseError(f"The record '{node.GetName()}' cannot be read: {error}.") from error
    if version > _VERSION:
        raise MorseError(f"'{node.GetName()}' was written by a newer MorseSegment.")
    inputID = node.GetNodeReferenceID(_PREFIX + "input") or ""
    return ResultRecord(name, structures, report, inputID)


def _shownBy(scene: vtk.vtkObject, record: vtk.vtkObject) -> SceneResult:
    single = {role: _present(record.GetNodeReference(_PREFIX + role)) for role in _SINGLE}
    role = _PREFIX + "points"
    points = [
        record.GetNthNodeReference(role, n) for n in range(record.GetNumberOfNodeReferences(role))
    ]
    hierarchy = hierarchyOf(scene)
    refined = record.GetNodeReference(_PREFIX + "refined")
    return SceneResult(
        **single,
        points=tuple(_present(node) for node in points),
        record=record.GetID(),
        folder=folderOf(hierarchy, refined) if hierarchy is not None else None,
    )


def _present(node: vtk.vtkObject | None) -> str:
    return node.GetID() if node is not None else ""


def addExtra(scene: vtk.vtkObject, shown: SceneResult, kind: str, node: vtk.vtkObject) -> None:
    """Let a node belong to a result: its record, its folder, its parent transform.

    :param kind: a word that :func:`extraIDs` finds it by, also after a reload.
    """
    record, refined = scene.GetNodeByID(shown.record), scene.GetNodeByID(shown.refined)
    if record is not None:
        record.AddNodeReferenceID(_EXTRA + kind, node.GetID())
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
    wanted = _EXTRA + kind if kind is not None else None
    return [
        node.GetID()
        for role in roles
        if role.startswith(_EXTRA) and wanted in (None, role)
        for n in range(record.GetNumberOfNodeReferences(role))
        if (node := record.GetNthNodeReference(role, n)) is not None
    ]


def removeExtra(scene: vtk.vtkObject, nodeID: str) -> None:
    """Remove an extra node with its item, display and storage nodes."""
    node, hierarchy = scene.GetNodeByID(nodeID), hierarchyOf(scene)
    if node is not None and hierarchy is not None:
        removeItem(hierarchy, node)
    removeNodes(scene, [nodeID])
