"""Structures in groups, by their names and terms: the one table of groups. No Qt."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import vtk

from MorseCore.result import Segmentation, Structure
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.scene.segments import segmentIDs

__all__ = ["GROUPS", "OTHERS", "groupOf", "isGroupShown", "showGroup", "withoutGroups"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "cerebellum": ("cerebell",),
    "cortex": ("cortex", "gray matter", "grey matter"),
    "white matter": ("white matter",),
    "deep nuclei": (
        "thalamus", "caudate", "putamen", "pallidum", "accumbens", "diencephalon", "ventral dc",
        "basal gangl",
    ),
    "hippocampus": ("hippocamp", "amygdala"),
    "ventricles": ("ventricle", "cerebrospinal", "csf"),
    "brain stem": ("brain stem", "brainstem", "midbrain", "pons", "medulla"),
}  # fmt: skip
"""Words of a structure's name or term, by group; the first group with one of them has it."""

OTHERS = "others"
"""The group of structures that no word of the table names."""


def groupOf(name: str, terminology: str = "") -> str:
    """A structure's group.

    :param terminology: Slicer's terminology entry, whose type is looked at.
    """
    parts = terminology.split("~")
    meaning = parts[2].rpartition("^")[2] if len(parts) > 2 else ""
    text = f"{name}, {meaning}".lower()
    for group, words in GROUPS.items():
        if any(word in text for word in words):
            return group
    return OTHERS


def withoutGroups(result: Segmentation, groups: Iterable[str]) -> Segmentation:
    """A result that no longer lists the structures of some groups; its maps are the same."""
    left = frozenset(groups)
    kept = [s for s in result.structures if groupOf(s.name, s.terminology) not in left]
    return replace(result, structures=kept)


def isGroupShown(scene: vtk.vtkObject, shown: SceneResult, group: str) -> bool | None:
    """Whether a segment of a group is seen where its mask is; None: there is none."""
    node = scene.GetNodeByID(shown.refined)
    segments = _segmentsOf(node, _members(scene, shown, group))
    if not segments:
        return None
    return any(node.GetDisplayNode().GetSegmentVisibility(segment) for segment in segments)


def showGroup(scene: vtk.vtkObject, shown: SceneResult, group: str, visible: bool) -> None:
    """Show or hide the segments of a group in both masks, in slices and in 3D."""
    members = _members(scene, shown, group)
    for node in filter(None, map(scene.GetNodeByID, (shown.coarse, shown.refined))):
        display = node.GetDisplayNode()
        wasModifying = display.StartModify()
        for segment in _segmentsOf(node, members):
            display.SetSegmentVisibility(segment, visible)
        display.EndModify(wasModifying)


def _members(scene: vtk.vtkObject, shown: SceneResult, group: str) -> list[Structure]:
    structures = readRecord(scene, shown).structures
    return [s for s in structures if groupOf(s.name, s.terminology) == group]


def _segmentsOf(node: vtk.vtkObject | None, structures: Iterable[Structure]) -> list[str]:
    if node is None or node.GetDisplayNode() is None:
        return []
    ids = segmentIDs(node)
    return [ids[s.value] for s in structures if s.value in ids]
