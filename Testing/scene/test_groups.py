"""Groups of structures: from their names and terms, shown and hidden."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import slicer
import vtk

from MorseCore.result import Segmentation, Structure
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model
from MorseSegmentLib.scene.groups import (
    OTHERS,
    groupOf,
    isGroupShown,
    showGroup,
    withoutGroups,
)
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.segments import segmentIDs


def test_every_structure_of_the_brain_model_is_in_a_group() -> None:
    structures = read_model(find_model("brain-mr")).structures
    by_name = {s.name: groupOf(s.name) for s in structures}
    by_term = {s.name: groupOf(s.name, s.terminology) for s in structures}
    assert by_name == by_term, "before a run only the names are known"
    assert Counter(by_name.values()) == {
        "cortex": 2, "white matter": 2, "cerebellum": 4, "ventricles": 7, "deep nuclei": 12,
        "hippocampus": 4, "brain stem": 1,
    }  # fmt: skip
    assert by_name["Left cerebellum cortex"] == "cerebellum"
    assert by_name["Right ventral DC"] == "deep nuclei"


def test_a_term_tells_where_a_name_does_not() -> None:
    term = "Category~SCT^1^Anatomical Structure~SCT^5366008^Hippocampus~^^~Region~^^~^^"
    assert groupOf("HC", term) == "hippocampus"
    assert groupOf("HC") == OTHERS


@pytest.fixture
def a_brain(a_result: Segmentation) -> Segmentation:
    structures = (
        Structure(1, "Left thalamus", (1, 0, 0)),
        Structure(2, "Third ventricle", (0, 1, 0)),
        Structure(7, "Right thalamus", (0, 0, 1)),
    )
    return replace(a_result, structures=structures)


def test_a_group_is_hidden_in_both_masks_and_the_others_stay(
    a_scene: Any, a_brain: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_brain)
    assert isGroupShown(a_scene, shown, "deep nuclei") is True
    assert isGroupShown(a_scene, shown, "cortex") is None
    showGroup(a_scene, shown, "deep nuclei", False)
    for node_id in (shown.coarse, shown.refined):
        node = a_scene.GetNodeByID(node_id)
        ids, display = segmentIDs(node), node.GetDisplayNode()
        seen = {value: display.GetSegmentVisibility(ids[value]) for value in ids}
        assert seen == {1: False, 2: True, 7: False}
    assert isGroupShown(a_scene, shown, "deep nuclei") is False
    showGroup(a_scene, shown, "deep nuclei", True)
    assert isGroupShown(a_scene, shown, "deep nuclei") is True


def test_a_group_that_is_left_out_is_not_in_the_scene(
    a_scene: Any, a_brain: Segmentation, a_volume_node: Any
) -> None:
    rest = withoutGroups(a_brain, ["deep nuclei"])
    shown = SceneWriter(a_scene).show(rest, a_volume_node)
    node = a_scene.GetNodeByID(shown.refined)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["Third ventricle"]
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Third ventricle", a_volume_node)
    assert ((found > 0) == (a_brain.refined == 2)).all()


def test_segments_say_what_they_are_as_statistics_and_dicom_export_want_it(
    a_scene: Any, a_result: Segmentation
) -> None:
    structures = read_model(find_model("brain-mr")).result_structures()
    shown = SceneWriter(a_scene).show(replace(a_result, structures=structures))
    segmentation = a_scene.GetNodeByID(shown.refined).GetSegmentation()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    for number, structure in enumerate(structures):
        segment, text = segmentation.GetNthSegment(number), vtk.reference("")
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), text)
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(str(text), entry)
        category, kind = entry.GetCategoryObject(), entry.GetTypeObject()
        assert category.GetCodeMeaning() in ("Anatomical Structure", "Body Substance")
        assert kind.GetCodingSchemeDesignator() in ("SCT", "DCM")
        assert kind.GetCodeValue().isdecimal()
        side = structure.name.split()[0]
        sides = {"Left": "Left", "Right": "Right"}
        assert (entry.GetTypeModifierObject().GetCodeMeaning() or "") == sides.get(side, "")
        assert segment.GetName() == structure.name
        assert segment.GetColor() == pytest.approx(structure.color)
