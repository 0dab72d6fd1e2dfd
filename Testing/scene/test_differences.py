"""What differs between coarse and refined: as segments and as numbers."""

from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.metrics.comparison import compare_masks
from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.undo import UndoStack
from MorseSegmentLib.scene.changes import COLUMNS, ChangeTable
from MorseSegmentLib.scene.difference import DifferenceView, differenceLabels
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter


@pytest.fixture
def shown(a_scene: Any, a_result: Segmentation, a_volume_node: Any) -> SceneResult:
    """Two structures of which rendering changed both."""
    a_result.refined[5, 3, 3] = 1  # was 2
    return SceneWriter(a_scene).show(a_result, a_volume_node)


@pytest.fixture
def difference(a_scene: Any, shown: SceneResult) -> DifferenceView:
    return DifferenceView(a_scene, shown)


@pytest.fixture
def changes(a_scene: Any, shown: SceneResult) -> ChangeTable:
    return ChangeTable(a_scene, shown)


def test_a_difference_is_added_removed_or_another_structure() -> None:
    coarse = np.array([0, 0, 1, 1, 1, 2])
    refined = np.array([0, 1, 0, 1, 2, 2])
    assert differenceLabels(coarse, refined).tolist() == [0, 1, 2, 0, 3, 0]
    assert differenceLabels(coarse, refined, 1).tolist() == [0, 1, 2, 0, 2, 0]
    assert differenceLabels(coarse, refined, 2).tolist() == [0, 0, 0, 0, 1, 0]


def test_the_difference_is_one_node_with_green_and_red_segments(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, difference: DifferenceView
) -> None:
    node = a_scene.GetNodeByID(finished(difference.showInSteps()))
    expected = differenceLabels(a_result.coarse, a_result.refined)
    assert set(np.unique(expected)) == {0, 1, 2, 3}
    for value, name in ((1, "Added"), (2, "Removed"), (3, "Other structure")):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, a_volume_node)
        np.testing.assert_array_equal(found > 0, expected == value)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    red, green, _ = np.array(segmentation.GetSegment("Added").GetColor())
    assert green > 2 * red
    red, green, _ = np.array(segmentation.GetSegment("Removed").GetColor())
    assert red > 2 * green


def test_asked_again_the_difference_is_replaced_and_then_taken_away(
    a_scene: Any, difference: DifferenceView
) -> None:
    before = a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    assert difference.nodeID is None
    finished(difference.showInSteps())
    second = finished(difference.showInSteps(structure=1))
    assert difference.nodeID == second
    assert a_scene.GetNodeByID(second).GetSegmentation().GetNumberOfSegments() == 2
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before + 1
    difference.hide()
    assert difference.nodeID is None
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before


def test_the_rows_are_those_of_the_masks(
    a_result: Segmentation, a_geometry: Geometry, changes: ChangeTable
) -> None:
    expected = compare_masks(
        a_result.coarse, a_result.refined, geometry=a_geometry, structures=a_result.structures
    )
    assert list(changes.measured()) == expected


def test_a_structure_that_only_one_mask_has_is_shifted_by_the_whole_image(
    a_scene: Any, a_result: Segmentation
) -> None:
    a_result.refined[a_result.refined == 2] = 0
    changes = ChangeTable(a_scene, SceneWriter(a_scene).show(a_result))
    expected = compare_masks(
        a_result.coarse,
        a_result.refined,
        geometry=a_result.geometry,
        structures=a_result.structures,
    )
    assert list(changes.measured()) == expected


def test_masks_without_any_voxel_have_rows_and_a_difference(
    a_scene: Any, a_result: Segmentation
) -> None:
    a_result.coarse[:] = a_result.refined[:] = 0
    shown = SceneWriter(a_scene).show(a_result)
    assert [row["coarse_ml"] for row in ChangeTable(a_scene, shown).measured()] == [0, 0, 0]
    assert finished(DifferenceView(a_scene, shown).showInSteps())


def test_a_segment_that_grew_by_hand_is_seen(
    a_scene: Any,
    a_result: Segmentation,
    a_volume_node: Any,
    changes: ChangeTable,
    shown: SceneResult,
) -> None:
    corner = np.zeros(a_result.refined.shape, np.uint8)
    corner[0, 0, 0] = corner[-1, -1, -1] = 1
    refined = a_scene.GetNodeByID(shown.refined)
    slicer.util.updateSegmentBinaryLabelmapFromArray(corner, refined, "Absent", a_volume_node)
    assert list(changes.measured())[2]["added_voxels"] == 2


def test_the_rows_follow_a_local_change(
    a_scene: Any, a_result: Segmentation, shown: SceneResult, changes: ChangeTable
) -> None:
    before = next(changes.measured())
    box = a_result.geometry.crop((0, 0, 0), (1, 1, 2))
    finished(
        LocalWriter(a_scene, shown, UndoStack()).writeInSteps(np.ones((1, 1, 2), np.uint8), box)
    )
    assert next(changes.measured())["added_voxels"] == before["added_voxels"] + 2


def test_the_worker_s_rows_are_there_at_once(a_scene: Any, a_result: Segmentation) -> None:
    rows = compare_masks(
        a_result.coarse,
        a_result.refined,
        geometry=a_result.geometry,
        structures=a_result.structures,
    )
    a_result.report["structures"] = rows
    assert ChangeTable(a_scene, SceneWriter(a_scene).show(a_result)).reported() == rows


def test_the_table_node_holds_the_rows_and_is_filled_again(
    a_scene: Any, changes: ChangeTable
) -> None:
    rows = list(changes.measured())
    table = a_scene.GetNodeByID(changes.addNode(rows)).GetTable()
    assert table.GetNumberOfRows() == len(rows) == 3
    for n, row in enumerate(rows):
        for name in COLUMNS:
            value = table.GetValueByName(n, name)
            if row[name] is None:
                assert np.isnan(value.ToDouble())
            elif name == "name":
                assert value.ToString() == row[name]
            else:
                assert value.ToDouble() == row[name]
    again = a_scene.GetNodeByID(changes.addNode(rows[:1]))
    assert again.GetTable().GetNumberOfRows() == 1
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 2  # this one and the points


def test_a_deleted_mask_is_named(
    a_scene: Any, shown: SceneResult, difference: DifferenceView
) -> None:
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.refined))
    with pytest.raises(MorseError, match="no longer in the scene"):
        finished(difference.showInSteps())


def test_a_segmentation_is_empty_before_its_item_goes(
    a_scene: Any, difference: DifferenceView
) -> None:
    """For every segment that is left then, the application writes an error into its log."""
    node = a_scene.GetNodeByID(finished(difference.showInSteps()))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    left: list[int] = []
    hierarchy.AddObserver(
        hierarchy.SubjectHierarchyItemAboutToBeRemovedEvent,
        lambda *_: left.append(node.GetSegmentation().GetNumberOfSegments()),
    )
    difference.hide()
    assert left == [0]
    assert not hierarchy.GetItemByDataNode(node)
