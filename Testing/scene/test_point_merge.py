"""Points of a box that was rendered again, among those of the result."""

from typing import Any

import numpy as np
import pytest

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.pointmerge import PointMerge
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.markups import MAXIMUM_POINTS
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter

# Of the five points of a_result (ranks 1 to 5), (3, 3, 2) and (4, 6, 4) lie in this box.
START, STOP = (1, 2, 2), (5, 8, 6)


@pytest.fixture
def shown(a_scene: Any, a_result: Segmentation) -> SceneResult:
    return SceneWriter(a_scene).show(a_result)


@pytest.fixture
def box(a_geometry: Geometry) -> Geometry:
    return a_geometry.crop(START, STOP)


def fine_points(geometry: Geometry, box: Geometry) -> RenderedPoints:
    """Three between the voxels of the box, and one beside it, named on a grid of their own."""
    ijk = np.array([[2.75, 2.25, 1.25], [4.25, 3.75, 3.25], [5.25, 6.75, 4.25], [9.0, 3.0, 3.0]])
    uncertainty = np.array([0.75, 0.4, 0.05, 0.99], np.float32)
    one, sure = np.ones(4, np.int32), np.full(4, 0.9, np.float32)
    indices = np.full((4, 3), 77, np.int32)
    return RenderedPoints(geometry.to_world(ijk), indices, uncertainty, one, 0 * one, sure, sure)


def table_of(scene: Any, shown: SceneResult) -> PointTable:
    return PointTable.read(scene.GetNodeByID(shown.pointTable))


def drawn(scene: Any, shown: SceneResult) -> list[list[int]]:
    """Labels (ranks) of the markups in each range of uncertainty."""
    nodes = [scene.GetNodeByID(nodeID) for nodeID in shown.points]
    return [
        [int(node.GetNthControlPointLabel(n)) for n in range(node.GetNumberOfControlPoints())]
        for node in nodes
    ]


def test_points_inside_the_box_are_replaced_and_all_are_ranked_anew(
    a_scene: Any, a_geometry: Geometry, shown: SceneResult, box: Geometry
) -> None:
    PointMerge(a_scene, shown, fine_points(a_geometry, box), box).do()
    table = table_of(a_scene, shown)
    np.testing.assert_allclose(table.points.uncertainty, [0.95, 0.75, 0.4, 0.3, 0.1, 0.05])
    assert table.ranks.tolist() == [1, 2, 3, 4, 5, 6]
    assert table.points.indices.tolist()[1:3] == [[3, 2, 1], [4, 4, 3]], "on the result's grid"
    assert drawn(a_scene, shown) == [[5, 6], [4], [3], [2], [1]]


def test_what_a_person_said_of_points_that_stay_is_kept_both_ways(
    a_scene: Any, a_geometry: Geometry, shown: SceneResult, box: Geometry
) -> None:
    before = table_of(a_scene, shown)
    before.setReview(0, "accepted")
    before.setReview(1, "flagged")  # of a point in the box
    before.setReview(3, "flagged")
    merge = PointMerge(a_scene, shown, fine_points(a_geometry, box), box)
    merge.do()
    table = table_of(a_scene, shown)
    empty = "undecided"
    assert table.reviews() == ["accepted", empty, empty, "flagged", empty, empty]
    table.setReview(1, "accepted")  # a new point
    table.setReview(4, "accepted")
    assert merge.takeBack() == 1
    after = table_of(a_scene, shown)
    assert after.reviews() == ["accepted", "flagged", empty, "flagged", "accepted"]
    np.testing.assert_array_equal(after.points.positions, before.points.positions)
    np.testing.assert_array_equal(after.points.indices, before.points.indices)
    assert after.ranks.tolist() == [1, 2, 3, 4, 5]
    assert drawn(a_scene, shown) == [[5], [4], [3], [2], [1]]


def test_reviewed_points_stay_when_there_are_too_many(
    a_scene: Any, a_crowded_result: Segmentation, a_geometry: Geometry
) -> None:
    shown = SceneWriter(a_scene).show(a_crowded_result)
    last = MAXIMUM_POINTS - 1
    table_of(a_scene, shown).setReview(last, "flagged")
    box = a_geometry.crop((0, 0, 0), (1, 1, 1))
    ijk = np.random.default_rng(1).uniform(-0.4, 0.4, (500, 3))
    ones, sure = np.ones(500, np.int32), np.ones(500, np.float32)
    points = RenderedPoints(
        a_geometry.to_world(ijk), np.zeros((500, 3), np.int32), sure, ones, ones, sure, sure
    )
    flagged = table_of(a_scene, shown).points.positions[last]
    PointMerge(a_scene, shown, points, box).do()
    table = table_of(a_scene, shown)
    assert len(table) == MAXIMUM_POINTS
    row = table.reviews().index("flagged")
    np.testing.assert_array_equal(table.points.positions[row], flagged)
    assert (np.diff(table.points.uncertainty) <= 0).all()


def test_a_written_block_brings_its_points_and_undo_takes_both_back(
    a_scene: Any, a_result: Segmentation, shown: SceneResult, box: Geometry
) -> None:
    undo = UndoStack()
    writer = LocalWriter(a_scene, shown, undo)
    labels = np.ones(box.shape, np.uint8)
    finished(writer.writeInSteps(labels, box, points=fine_points(a_result.geometry, box)))
    assert len(table_of(a_scene, shown)) == 6
    table_of(a_scene, shown).setReview(1, "flagged")
    back = undo.undo()
    assert back == TakenBack("Re-rendered box", "New points whose review is gone: 1.")
    assert len(table_of(a_scene, shown)) == 5


def test_without_a_table_nothing_is_written(
    a_scene: Any, a_result: Segmentation, shown: SceneResult, box: Geometry
) -> None:
    undo = UndoStack()
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.pointTable))
    labels = np.ones(box.shape, np.uint8)
    with pytest.raises(MorseError, match="table of rendered points is no longer"):
        finished(
            LocalWriter(a_scene, shown, undo).writeInSteps(
                labels, box, points=fine_points(a_result.geometry, box)
            )
        )
    assert undo.title is None
