"""Walking from point to point, and what is said about each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.result import Segmentation
from MorseSegmentLib.scene.pointfilter import PointCriteria, PointsFilter
from MorseSegmentLib.scene.record import findResults
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.review import Review, ReviewCounts


@pytest.fixture
def slice_nodes(a_scene: Any) -> list[Any]:
    """Three slice views, as a layout has."""
    nodes = []
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        node = slicer.vtkMRMLSliceNode()
        node.SetLayoutName(name)
        node.SetName(name)
        a_scene.AddNode(node)
        node.SetOrientation(orientation)
        nodes.append(node)
    return nodes


@pytest.fixture
def a_review(a_scene: Any, a_result: Segmentation) -> Review:
    """Five points, none decided."""
    return Review(a_scene, SceneWriter(a_scene).show(a_result))


def centre_of(slice_node: Any) -> list[float]:
    return [slice_node.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]


def test_a_jump_centres_every_slice_view_on_the_point_in_the_world(
    a_scene: Any, slice_nodes: list[Any], a_result: Segmentation, a_volume_node: Any
) -> None:
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = vtk.vtkTransform()
    turn.Translate(5.0, -3.0, 11.0)
    turn.RotateX(30.0)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    review = Review(a_scene, SceneWriter(a_scene).show(a_result, a_volume_node))
    position = review.jump(2)
    expected = turn.TransformPoint(a_result.points.positions[2])
    np.testing.assert_allclose(position, expected, atol=1e-9)
    for node in slice_nodes:
        np.testing.assert_allclose(centre_of(node), expected, atol=1e-6)
    assert review.current == 2


def test_a_jump_puts_the_crosshair_on_the_point_and_makes_it_visible(
    a_scene: Any, a_review: Review
) -> None:
    crosshair = a_scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is None:
        crosshair = a_scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairMode(crosshair.NoCrosshair)
    for row in (1, 3):
        position = a_review.jump(row)
        np.testing.assert_allclose(crosshair.GetCrosshairRAS(), position)
    assert crosshair.GetCrosshairMode() == crosshair.ShowSmallBasic
    crosshair.SetCrosshairMode(crosshair.ShowHashmarks)
    a_review.jump(0)
    assert crosshair.GetCrosshairMode() == crosshair.ShowHashmarks


def test_a_jump_turns_no_camera_but_aims_it(a_scene: Any, a_review: Review) -> None:
    camera = a_scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetPosition(0.0, 300.0, 40.0)
    camera.SetFocalPoint(0.0, 0.0, 0.0)
    position = a_review.jump(4)
    np.testing.assert_allclose(camera.GetFocalPoint(), position)
    np.testing.assert_allclose(np.array(camera.GetPosition()) - position, [0.0, 300.0, 40.0])


def test_next_and_previous_walk_round_the_rows_that_are_shown(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    points_filter, review = PointsFilter(a_scene, shown), Review(a_scene, shown)
    points_filter.apply(PointCriteria(lowest=0.2))
    review.setRows(points_filter.rows())
    assert [review.next() for _ in range(5)] == [0, 1, 2, 3, 0]
    assert [review.previous() for _ in range(2)] == [3, 2]


def test_the_first_step_back_goes_to_the_last_point(a_review: Review) -> None:
    assert a_review.previous() == 4


def test_decided_points_can_be_left_out_of_the_walk(a_review: Review) -> None:
    a_review.setState(1, "accepted")
    a_review.setState(2, "flagged")
    assert [a_review.next(undecidedOnly=True) for _ in range(4)] == [0, 3, 4, 0]
    for row in range(5):
        a_review.setState(row, "accepted")
    assert a_review.next(undecidedOnly=True) is None
    assert a_review.next() == 1


def test_no_rows_lead_nowhere(a_review: Review) -> None:
    a_review.setRows(np.zeros(0, int))
    assert a_review.next() is None
    assert a_review.nearest((0.0, 0.0, 0.0), within=1e9) is None


def test_a_row_that_is_not_there_is_an_error(a_review: Review) -> None:
    with pytest.raises(IndexError, match="no row 5"):
        a_review.jump(5)


def test_a_click_finds_the_nearest_point_that_is_shown(
    a_review: Review, a_result: Segmentation
) -> None:
    clicked = tuple(a_result.points.positions[3] + [0.2, -0.1, 0.3])
    assert a_review.nearest(clicked, within=1.0) == 3
    assert a_review.nearest(clicked, within=0.1) is None
    a_review.setRows(np.array([0, 1]))
    assert a_review.nearest(clicked, within=1e3) in (0, 1)


def test_states_are_counted(a_review: Review) -> None:
    assert a_review.counts() == ReviewCounts(accepted=0, flagged=0, left=5)
    a_review.setState(0, "accepted")
    a_review.setState(1, "flagged")
    a_review.setState(2, "flagged")
    a_review.setState(2, "undecided")
    assert a_review.counts() == ReviewCounts(accepted=1, flagged=1, left=3)
    with pytest.raises(ValueError, match="not 'great'"):
        a_review.setState(0, "great")


def test_a_decision_makes_the_scene_ask_for_saving(
    a_scene: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    assert a_scene.WriteToMRB(str(tmp_path / "case.mrb"))
    table = a_scene.GetNodeByID(shown.pointTable)
    assert not table.GetModifiedSinceRead()
    Review(a_scene, shown).setState(3, "flagged")
    assert table.GetModifiedSinceRead()


def test_points_and_review_survive_save_and_reload(
    a_scene: Any, a_crowded_result: Segmentation, tmp_path: Path
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    review = Review(a_scene, shown)
    for row, state in ((0, "accepted"), (8191, "flagged"), (17, "accepted")):
        review.setState(row, state)
    before = PointsFilter(a_scene, shown).worst(50)
    assert a_scene.WriteToMRB(str(tmp_path / "case.mrb"))
    a_scene.Clear(False)
    # Another scene is open already: every ID changes.
    SceneWriter(a_scene).show(a_crowded_result, name="Earlier")
    assert a_scene.ReadFromMRB(str(tmp_path / "case.mrb"))

    again = findResults(a_scene)[-1]
    assert again.pointTable != shown.pointTable
    assert len(again.points) == 5
    review = Review(a_scene, again)
    assert review.counts() == ReviewCounts(accepted=2, flagged=1, left=8189)
    assert [review.state(row) for row in (0, 17, 8191)] == ["accepted", "accepted", "flagged"]
    after = PointsFilter(a_scene, again).worst(50)
    for old, new in zip(before, after, strict=True):
        assert (old.rank, old.coarse, old.refined, old.review) == (
            new.rank, new.coarse, new.refined, new.review,
        )  # fmt: skip
        np.testing.assert_allclose(new.position, old.position, atol=1e-3)
        assert new.uncertainty == pytest.approx(old.uncertainty, abs=1e-5)
