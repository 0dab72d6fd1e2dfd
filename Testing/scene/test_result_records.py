"""A result found again, replaced, completed by extra nodes, ready for DICOM."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.replace import ResultReplacer
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.changes import ChangeTable
from MorseSegmentLib.scene.difference import DifferenceView
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.pointtable import PointTable, addPointTable
from MorseSegmentLib.scene.record import SceneResult, findResults, readRecord
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.segments import segmentIDs

HIPPOCAMPUS = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
    "SCT^5366008^Hippocampus~SCT^255549009^Anterior~Anatomic codes - DICOM master list~^^~^^"
)


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def test_results_are_found_in_the_scene_in_the_order_of_their_making(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    writer = SceneWriter(a_scene)
    assert findResults(a_scene) == []
    first = writer.show(a_result, a_volume_node, name="First")
    second = writer.show(a_result, name="Second")
    assert findResults(a_scene) == [first, second]
    writer.remove(first)
    assert findResults(a_scene) == [second]


def test_a_result_without_its_refined_mask_is_not_listed(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.uncertainty))
    assert findResults(a_scene)[0].uncertainty == ""
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.refined))
    assert findResults(a_scene) == []


def test_a_record_keeps_structures_report_and_input_through_a_reload(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, tmp_path: Path
) -> None:
    a_result.report.update(model={"name": "größer", "sha256": "ab"}, seconds=[1.5, 2.0])
    before = SceneWriter(a_scene).show(a_result, a_volume_node, name="Case; 1")
    record = readRecord(a_scene, before)
    assert (record.name, record.input) == ("Case; 1", a_volume_node.GetID())
    assert record.structures == a_result.structures
    assert a_scene.WriteToMRB(str(tmp_path / "case.mrb"))
    a_scene.Clear(False)
    assert a_scene.ReadFromMRB(str(tmp_path / "case.mrb"))
    (after,) = findResults(a_scene)
    again = readRecord(a_scene, after)
    assert again == record
    assert again.report == a_result.report
    assert segmentIDs(a_scene.GetNodeByID(after.refined)) == {1: "Head", 2: "Tail", 7: "Absent"}


def test_a_record_of_a_newer_version_or_of_nothing_is_refused(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    node = a_scene.GetNodeByID(shown.record)
    text = node.GetText()
    node.SetText(text.replace('"morsesegment_result": 1', '"morsesegment_result": 2'))
    with pytest.raises(MorseError, match="newer MorseSegment"):
        readRecord(a_scene, shown)
    node.SetText("{}")
    with pytest.raises(MorseError, match="cannot be read"):
        readRecord(a_scene, shown)
    a_scene.RemoveNode(node)
    with pytest.raises(MorseError, match="no longer in the scene"):
        readRecord(a_scene, shown)


def test_the_point_table_holds_every_number_of_the_worst_points(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    with NodeLedger(a_scene) as ledger:
        made = addPointTable(ledger, "table", a_crowded_result.points)
    table = PointTable.read(made.node)
    assert len(table) == 8192
    source = a_crowded_result.points.take(table.ranks - 1)
    for name in RenderedPoints.__dataclass_fields__:
        found, expected = getattr(table.points, name), getattr(source, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert made.node.GetLocked()


def test_a_table_of_something_else_is_refused(a_scene: Any) -> None:
    node = a_scene.AddNewNodeByClass("vtkMRMLTableNode", "Ages")
    with pytest.raises(MorseError, match=r"'Ages' is not a table of rendered points.* 'r'"):
        PointTable.read(node)


def test_a_result_goes_with_the_nodes_that_were_added_to_it(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), a_volume_node)
    before, items = node_ids(a_scene), hierarchy.GetNumberOfItems()
    writer = SceneWriter(a_scene)
    shown = writer.show(a_result, a_volume_node)
    difference = finished(DifferenceView(a_scene, shown).showInSteps())
    changes = ChangeTable(a_scene, shown)
    changes.addNode(list(changes.measured()))
    item = hierarchy.GetItemByDataNode(a_scene.GetNodeByID(difference))
    assert hierarchy.GetItemParent(item) == shown.folder
    writer.remove(shown)
    assert node_ids(a_scene) == before
    assert hierarchy.GetNumberOfItems() == items


def test_a_finer_result_takes_the_place_of_another_and_gives_it_back(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_result, a_volume_node), UndoStack()
    a_scene.GetNodeByID(shown.coarse).SetDisplayVisibility(False)
    before = node_ids(a_scene), visibilities(a_scene, shown)
    finer = ResultReplacer(a_scene, undo).replace(
        shown, twice(a_result), a_volume_node, name="x2", title="Resolution x2"
    )
    assert not any(visibilities(a_scene, shown))
    assert findResults(a_scene) == [shown, finer]
    assert undo.undo() == TakenBack("Resolution x2", look=shown)
    assert (node_ids(a_scene), visibilities(a_scene, shown)) == before


@pytest.mark.parametrize("work", ["voxels", "review"])
def test_a_finer_result_in_which_a_person_worked_is_hidden_instead_of_removed(
    a_scene: Any, a_result: Segmentation, work: str
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_result), UndoStack()
    before = visibilities(a_scene, shown)
    finer = ResultReplacer(a_scene, undo).replace(shown, twice(a_result), name="x2")
    if work == "voxels":
        node = a_scene.GetNodeByID(finer.refined)
        slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "Head")[0] = 0
    else:
        PointTable.read(a_scene.GetNodeByID(finer.pointTable)).setReview(0, "flagged")
    back = undo.undo()
    assert back.note == "'x2' was edited or reviewed since, so it stays in the scene, hidden."
    assert findResults(a_scene) == [shown, finer]
    assert not any(visibilities(a_scene, finer))
    assert visibilities(a_scene, shown) == before


def visibilities(scene: Any, shown: SceneResult) -> list[bool]:
    ids = (shown.coarse, shown.refined, *shown.points)
    return [bool(scene.GetNodeByID(node_id).GetDisplayVisibility()) for node_id in ids]


def twice(result: Segmentation) -> Segmentation:
    """The result on a grid of half the voxel size."""
    geometry = result.geometry
    matrix = geometry.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    matrix[:3, 3] = geometry.to_world(np.full(3, -0.25))
    maps = (
        values.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        for values in (result.coarse, result.refined, result.uncertainty)
    )
    fine = Geometry(tuple(2 * n for n in geometry.shape), matrix)
    return Segmentation(fine, result.structures, *maps, result.points)


def test_the_rows_of_a_finer_result_are_of_its_own_grid(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shown = SceneWriter(a_scene).show(twice(a_result), a_volume_node)
    coarse = next(ChangeTable(a_scene, SceneWriter(a_scene).show(a_result)).measured())
    fine = next(ChangeTable(a_scene, shown).measured())
    assert fine["added_voxels"] == 8 * coarse["added_voxels"]
    assert fine["coarse_ml"] == pytest.approx(coarse["coarse_ml"], abs=2e-4)


@pytest.mark.parametrize("scale", [1, 2])
def test_every_mask_is_ready_for_dicom_export(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, scale: int
) -> None:
    head = replace(a_result.structures[0], terminology=HIPPOCAMPUS)
    result = replace(a_result, structures=(head, *a_result.structures[1:]))
    result = result if scale == 1 else twice(result)
    shown = SceneWriter(a_scene).show(result, a_volume_node)
    for node_id in (shown.coarse, shown.refined):
        node = a_scene.GetNodeByID(node_id)
        role = node.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReference(role) is a_volume_node
        segmentation = node.GetSegmentation()
        for n in range(segmentation.GetNumberOfSegments()):
            entry = vtk.reference("")
            segment = segmentation.GetNthSegment(n)
            assert segment.GetTag(segment.GetTerminologyEntryTagName(), entry)
            category, kind = category_and_type(str(entry))
            assert kind == ("Hippocampus" if segment.GetName() == "Head" else "Tissue")
            assert category == ("Anatomical Structure" if segment.GetName() == "Head" else "Tissue")
            assert not segment.GetNameAutoGenerated()
            assert not segment.GetColorAutoGenerated()


def category_and_type(text: str) -> tuple[str, str]:
    """What Slicer's own reader of terminology finds."""
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(text, entry)
    return entry.GetCategoryObject().GetCodeMeaning(), entry.GetTypeObject().GetCodeMeaning()
