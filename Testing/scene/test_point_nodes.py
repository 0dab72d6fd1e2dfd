"""The rendered points as markups: where they are, which colour, what is stored."""

from typing import Any

import numpy as np
import slicer
import vtk

from MorseCore.result import RenderedPoints, Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.scene.markups import MAXIMUM_POINTS, addPointsInSteps, worstPoints
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.palette import binColors, binOf, uncertaintyColors
from MorseSegmentLib.scene.result import SceneWriter


def add(scene: Any, points: RenderedPoints) -> list[Any]:
    with NodeLedger(scene) as ledger:
        return finished(addPointsInSteps(ledger, "points", points, glyphSize=0.5))


def test_a_rendered_point_lands_on_its_voxel_under_a_moved_volume(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    moved = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = vtk.vtkTransform()
    turn.Translate(5.0, -3.0, 11.0)
    turn.RotateX(30.0)
    moved.SetMatrixTransformToParent(turn.GetMatrix())
    a_volume_node.SetAndObserveTransformNodeID(moved.GetID())
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)

    ijk_to_ras = vtk.vtkMatrix4x4()
    a_volume_node.GetIJKToRASMatrix(ijk_to_ras)
    world = np.array([0.0, 0.0, 0.0])
    for row, node_id in enumerate(reversed(shown.points)):
        node = a_scene.GetNodeByID(node_id)
        voxel = [float(n) for n in a_result.points.indices[row]]
        expected = turn.TransformPoint(ijk_to_ras.MultiplyPoint([*voxel, 1.0])[:3])
        node.GetNthControlPointPositionWorld(0, world)
        np.testing.assert_allclose(world, expected, atol=1e-9)


def test_the_worst_8192_points_are_shown_in_five_locked_nodes(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    nodes = add(a_scene, a_crowded_result.points)
    assert len(nodes) == 5
    assert sum(node.GetNumberOfControlPoints() for node in nodes) == MAXIMUM_POINTS == 8192
    assert all(node.GetLocked() for node in nodes)
    shown = np.concatenate(
        [slicer.util.arrayFromMarkupsControlPointData(node, "uncertainty") for node in nodes]
    )
    expected = np.sort(a_crowded_result.points.uncertainty)[-8192:]
    np.testing.assert_array_equal(np.sort(shown), expected.astype(np.float64))


def test_a_point_s_label_is_its_row_in_the_result(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    points = a_crowded_result.points
    for node in add(a_scene, points):
        rows = [int(node.GetNthControlPointLabel(n)) - 1 for n in (0, 1, 2)]
        found = slicer.util.arrayFromMarkupsControlPoints(node)[:3]
        np.testing.assert_array_equal(found, points.positions[rows])


def test_each_node_holds_its_range_of_uncertainty_in_its_colour(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    for number, node in enumerate(add(a_scene, a_crowded_result.points)):
        values = slicer.util.arrayFromMarkupsControlPointData(node, "uncertainty")
        assert set(binOf(values)) == {number}
        display = node.GetDisplayNode()
        np.testing.assert_allclose(display.GetSelectedColor(), binColors()[number])


def test_points_have_a_size_in_mm_and_no_labels(a_scene: Any, a_result: Segmentation) -> None:
    display = add(a_scene, a_result.points)[0].GetDisplayNode()
    assert (display.GetUseGlyphScale(), display.GetGlyphSize()) == (False, 0.5)
    assert not display.GetPointLabelsVisibility()
    assert not display.GetPropertiesLabelVisibility()


def test_slices_show_what_is_uncertain_and_the_3d_view_what_is_most_uncertain(
    a_scene: Any, a_result: Segmentation
) -> None:
    displays = [node.GetDisplayNode() for node in add(a_scene, a_result.points)]
    assert [display.GetVisibility() for display in displays] == [0, 1, 1, 1, 1]
    assert [display.GetVisibility2D() for display in displays] == [1, 1, 1, 1, 1]
    assert [display.GetVisibility3D() for display in displays] == [0, 0, 0, 1, 1]


def test_no_points_make_five_empty_nodes(a_scene: Any) -> None:
    counts = [node.GetNumberOfControlPoints() for node in add(a_scene, RenderedPoints.empty())]
    assert counts == [0] * 5


def test_equally_uncertain_points_keep_their_order(a_result: Segmentation) -> None:
    same = RenderedPoints(
        *(getattr(a_result.points, name) for name in ("positions", "indices")),
        np.full(5, 0.5, np.float32),
        *(getattr(a_result.points, name) for name in ("coarse_label", "refined_label")),
        *(getattr(a_result.points, name) for name in ("coarse_probability", "refined_probability")),
    )
    assert worstPoints(same).tolist() == [0, 1, 2, 3, 4]


def test_a_value_on_an_edge_belongs_to_the_upper_range() -> None:
    assert binOf(np.array([0.0, 0.2, 0.79, 0.8, 1.0])).tolist() == [0, 1, 3, 4, 4]


def test_the_scale_darkens_all_along_for_colour_blind_readers() -> None:
    luminance = uncertaintyColors(np.linspace(0.0, 1.0, 50)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) < 0).all()


def test_a_person_goes_on_placing_points_in_the_list_of_theirs(
    a_scene: Any, a_result: Segmentation
) -> None:
    selection = slicer.app.applicationLogic().GetSelectionNode()
    mine = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    assert selection.GetActivePlaceNodeID() == mine.GetID(), "Slicer chooses every new list"
    SceneWriter(a_scene).show(a_result)
    assert selection.GetActivePlaceNodeID() == mine.GetID()
    assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"


def test_without_a_list_of_theirs_none_of_ours_is_placed_in(
    a_scene: Any, a_result: Segmentation
) -> None:
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActivePlaceNodeID(None)
    shown = SceneWriter(a_scene).show(a_result)
    assert selection.GetActivePlaceNodeID() not in shown.points
