"""The settings of the panels, as a dataclass and as a node that the scene saves. No Qt.

A plain vtkMRMLScriptedModuleNode instead of Slicer's parameter-node wrapper: the wrapper raises on
values that a newer version wrote, lets values out of range through, and is not there without the
application.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import slicer
import vtk

__all__ = [
    "MODULE",
    "QUALITY_LEVELS",
    "VERSION",
    "Parameters",
    "isFromNewerVersion",
    "parameterNode",
    "readParameters",
    "writeParameters",
]

MODULE = "MorseSegment"
VERSION = 1
"""Of the node's keys; a scene with a higher number was saved by a later release."""
QUALITY_LEVELS = 6

_VERSION_KEY = "version"


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


def _node() -> Any:
    return field(default="", metadata={"role": True})


@dataclass(frozen=True)
class Parameters:
    """The module's settings and the nodes it works on.

    Example::

        node = parameterNode(slicer.mrmlScene)
        parameters = readParameters(node)
        writeParameters(node, dataclasses.replace(parameters, quality=4))
    """

    model: str = ""
    """Name of the model; empty: none is chosen yet."""
    device: str = "auto"
    leftOut: str = ""
    """Groups of structures that are not imported, with commas; see scene/groups.py."""
    frames: str = _choice("current", "all")
    """Of a volume that is a frame of a sequence."""
    quality: int = _number(3, 0, QUALITY_LEVELS)
    """How much is rendered; 3 is the model's own choice."""
    view: str = _choice("both", "coarse", "refined")
    """Which masks are shown."""
    compareStructure: int = _number(0, 0, 65535)
    """The difference of this structure only; 0: of all."""
    minimumUncertainty: float = _number(0.2, 0.0, 1.0)
    """Points below are not shown."""
    pointStructure: int = _number(0, 0, 65535)
    """Show points of this structure only; 0: of all."""
    pointChange: str = _choice("any", "changed", "unchanged")
    refineQuality: int = _number(5, 1, QUALITY_LEVELS)
    refineScale: int = _number(2, 1, 4)
    """Output grid this many times finer."""
    inputVolume: str = _node()
    roi: str = _node()
    refineBox: str = _node()
    """Where to render again."""
    result: str = _node()
    """The record of the result that is looked at; it names the masks and the points."""


def parameterNode(scene: vtk.vtkObject) -> vtk.vtkObject:
    """The scene's one node of the module; made if there is none. Closing the scene empties it."""
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(MODULE)
        node.SetName(MODULE)
        node.SetAttribute("ModuleName", MODULE)
        node = scene.AddNode(node)
    return node


def isFromNewerVersion(node: vtk.vtkObject) -> bool:
    """Whether a later release wrote the node; what it means by other keys is unknown."""
    return _savedVersion(node) > VERSION


def readParameters(node: vtk.vtkObject) -> Parameters:
    """What the node holds; a missing or useless value becomes the default, a number is clamped."""
    values: dict[str, Any] = {}
    for item in fields(Parameters):
        if "role" in item.metadata:
            found = node.GetNodeReference(item.name)
            values[item.name] = "" if found is None else found.GetID()
        else:
            values[item.name] = _decoded(node.GetParameter(item.name), item)
    return Parameters(**values)


def writeParameters(node: vtk.vtkObject, parameters: Parameters) -> None:
    """Make the node hold the settings, with one event; keys of other versions stay."""
    wasModifying = node.StartModify()
    try:
        node.SetParameter(_VERSION_KEY, str(max(VERSION, _savedVersion(node))))
        for item in fields(Parameters):
            value = getattr(parameters, item.name)
            if "role" not in item.metadata:
                node.SetParameter(item.name, str(value))
            elif value != (node.GetNodeReferenceID(item.name) or ""):
                node.SetNodeReferenceID(item.name, value or None)
    finally:
        node.EndModify(wasModifying)


def _savedVersion(node: vtk.vtkObject) -> int:
    text = node.GetParameter(_VERSION_KEY) or ""
    return int(text) if text.isdecimal() else 0


def _decoded(text: str | None, item: Any) -> Any:
    default = item.default
    if not text:
        return default
    if "choices" in item.metadata:
        return text if text in item.metadata["choices"] else default
    if isinstance(default, str):
        return text
    try:
        number = float(text)
    except ValueError:
        return default
    if not math.isfinite(number):
        return default
    clamped = min(max(number, item.metadata["low"]), item.metadata["high"])
    return round(clamped) if isinstance(default, int) else clamped
