"""Which points are shown, in the scene and as rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.result import RenderedPoints, Segmentation
from MorseSegmentLib.scene import pointfilter as pointsfilter
from MorseSegmentLib.scene.palette import binOf
from MorseSegmentLib.scene.pointfilter import PointCriteria, PointsFilter, selectPoints
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter


def shown_ranks(scene: Any, shown: SceneResult) -> set[int]:
    """Labels of the control points of the nodes that are visible."""
    nodes = [scene.GetNodeByID(node_id) for node_id in shown.points]
    return {
        int(node.GetNthControlPointLabel(n))
        for node in nodes
        if node.GetDisplayNode().GetVisibility()
        for n in range(node.GetNumberOfControlPoints())
    }


@pytest.fixture
def counted_fills(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """IDs of the nodes that were filled anew, as a growing list."""
    fill: Callable[..., None] = pointsfilter.fillPoints
    filled: list[str] = []

    def counting(node: Any, points: RenderedPoints, ranks: np.ndarray) -> None:
        filled.append(node.GetID())
        fill(node, points, ranks)

    monkeypatch.setattr(pointsfilter, "fillPoints", counting)
    return filled


def test_the_least_uncertainty_is_included(a_result: Segmentation) -> None:
    chosen = selectPoints(a_result.points, PointCriteria(lowest=0.3))
    assert chosen.tolist() == [True, True, True, True, False]


def test_a_class_is_met_by_the_coarse_or_the_refined_label(a_result: Segmentation) -> None:
    points = RenderedPoints(
        *(getattr(a_result.points, name) for name in ("positions", "indices", "uncertainty")),
        np.array([0, 1, 2, 2, 0], np.int32),
        np.array([1, 1, 2, 1, 0], np.int32),
        *(getattr(a_result.points, name) for name in ("coarse_probability", "refined_probability")),
    )
    every = PointCriteria(lowest=0.0)
    assert selectPoints(points, every).all()
    one = PointCriteria(lowest=0.0, structures=frozenset({1}))
    assert selectPoints(points, one).tolist() == [True, True, False, True, False]
    changed = PointCriteria(lowest=0.0, change="changed")
    assert selectPoints(points, changed).tolist() == [True, False, False, True, False]
    unchanged = PointCriteria(lowest=0.0, change="unchanged")
    assert selectPoints(points, unchanged).tolist() == [False, True, True, False, True]


def test_the_default_criteria_are_what_a_new_result_shows(
    a_scene: Any, a_crowded_result: Segmentation, counted_fills: list[str]
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    displays = [a_scene.GetNodeByID(node_id).GetDisplayNode() for node_id in shown.points]
    before = [(d.GetVisibility(), d.GetVisibility2D(), d.GetVisibility3D()) for d in displays]
    PointsFilter(a_scene, shown).apply(PointCriteria())
    after = [(d.GetVisibility(), d.GetVisibility2D(), d.GetVisibility3D()) for d in displays]
    assert after == before
    assert counted_fills == []


def test_the_scene_shows_exactly_what_meets_the_criteria(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    points_filter = PointsFilter(a_scene, shown)
    uncertainty = a_crowded_result.points.uncertainty
    for criteria in (PointCriteria(lowest=0.5), PointCriteria(lowest=0.85), PointCriteria()):
        number = points_filter.apply(criteria)
        expected = uncertainty >= criteria.lowest
        assert shown_ranks(a_scene, shown) == set((np.flatnonzero(expected) + 1).tolist())
        assert number == len(points_filter.rows()) == expected.sum()


def test_every_point_stays_in_the_colour_of_its_range(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    PointsFilter(a_scene, shown).apply(PointCriteria(lowest=0.3))
    for number in (1, 2, 3, 4):
        node = a_scene.GetNodeByID(shown.points[number])
        values = slicer.util.arrayFromMarkupsControlPointData(node, "uncertainty")
        assert set(binOf(values)) == {number}
        assert node.GetNumberOfMeasurements() == 1


def test_whole_ranges_are_hidden_and_shown_without_filling_them(
    a_scene: Any, a_crowded_result: Segmentation, counted_fills: list[str]
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    points_filter = PointsFilter(a_scene, shown)
    points_filter.apply(PointCriteria(lowest=0.8))
    points_filter.apply(PointCriteria(lowest=0.2))
    assert counted_fills == []
    points_filter.apply(PointCriteria(lowest=0.9))
    assert counted_fills == [shown.points[4]]


def test_points_under_a_transform_stay_in_place_when_filled_anew(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = vtk.vtkTransform()
    turn.Translate(5.0, -3.0, 11.0)
    turn.RotateX(30.0)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    node = a_scene.GetNodeByID(shown.points[4])
    node.RemoveAllControlPoints()
    points_filter = PointsFilter(a_scene, shown)
    points_filter.apply(PointCriteria(lowest=0.9))
    world = np.zeros(3)
    node.GetNthControlPointPositionWorld(0, world)
    expected = turn.TransformPoint(a_result.points.positions[0])
    np.testing.assert_allclose(world, expected, atol=1e-9)
    np.testing.assert_allclose(points_filter.worst()[0].position, expected, atol=1e-9)


def test_the_worst_are_listed_first_with_names_and_probabilities(
    a_scene: Any, a_crowded_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    points_filter = PointsFilter(a_scene, shown)
    points_filter.apply(PointCriteria())
    rows = points_filter.worst(100)
    assert len(rows) == 100
    values = np.array([row.uncertainty for row in rows])
    assert values[0] == values.max()
    assert (np.diff(values) <= 0).all()
    first = rows[0]
    source = a_crowded_result.points
    assert source.uncertainty[first.rank - 1] == np.float32(first.uncertainty)
    np.testing.assert_allclose(first.position, source.positions[first.rank - 1], atol=1e-9)
    assert (first.coarse, first.refined, first.changed) == ("Background", "Head", True)
    assert first.coarseProbability == first.refinedProbability == pytest.approx(0.9)
    assert points_filter.row(first.row) == first


def test_fewer_points_than_asked_for_give_fewer_rows(a_scene: Any, a_result: Segmentation) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    assert [row.rank for row in PointsFilter(a_scene, shown).worst(100)] == [1, 2, 3, 4]


def test_no_points_make_no_rows(a_scene: Any, a_result: Segmentation) -> None:
    empty = Segmentation(
        a_result.geometry, a_result.structures, a_result.coarse, a_result.refined,
        a_result.uncertainty, RenderedPoints.empty(),
    )  # fmt: skip
    points_filter = PointsFilter(a_scene, SceneWriter(a_scene).show(empty))
    assert points_filter.apply(PointCriteria(lowest=0.0)) == 0
    assert points_filter.worst() == []


def test_a_markups_node_that_a_person_removed_is_left_out(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.points[2]))
    assert PointsFilter(a_scene, shown).apply(PointCriteria(lowest=0.0)) == 5


def test_a_removed_point_table_is_named(a_scene: Any, a_result: Segmentation) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.pointTable))
    with pytest.raises(MorseError, match="table of rendered points is no longer"):
        PointsFilter(a_scene, shown)
