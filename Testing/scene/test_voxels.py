"""Segments as arrays: on their own grid, on a part of it, on another."""

from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.voxels import filledBox, labelsOf


@pytest.fixture
def refined_node(a_scene: Any, a_result: Segmentation, a_volume_node: Any) -> Any:
    return a_scene.GetNodeByID(SceneWriter(a_scene).show(a_result, a_volume_node).refined)


@pytest.mark.parametrize(
    ("start", "stop"), [((0, 0, 0), (8, 10, 12)), ((3, 4, 5), (6, 7, 12)), ((4, 5, 6), (5, 6, 7))]
)
def test_a_part_of_the_grid_has_the_labels_of_that_part(
    refined_node: Any,
    a_result: Segmentation,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
) -> None:
    part = a_result.geometry.crop(start, stop)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    np.testing.assert_array_equal(labelsOf(refined_node, part), a_result.refined[box])


def test_segments_in_layers_of_their_own_are_read_alike(
    refined_node: Any, a_result: Segmentation
) -> None:
    for segment_id in ("Head", "Tail"):
        refined_node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
    assert refined_node.GetSegmentation().GetNumberOfLayers() > 1
    np.testing.assert_array_equal(labelsOf(refined_node, a_result.geometry), a_result.refined)


def test_another_grid_gets_the_nearest_labels(refined_node: Any, a_result: Segmentation) -> None:
    geometry = a_result.geometry
    matrix = geometry.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    matrix[:3, 3] = geometry.to_world(np.full(3, -0.25))
    fine = Geometry(tuple(2 * n for n in geometry.shape), matrix)
    expected = a_result.refined.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(labelsOf(refined_node, fine), expected)


def test_what_a_person_added_is_no_structure(
    refined_node: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    refined_node.GetSegmentation().AddEmptySegment("drawn", "Drawn")
    full = np.ones(a_result.refined.shape, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(full, refined_node, "drawn", a_volume_node)
    np.testing.assert_array_equal(labelsOf(refined_node, a_result.geometry), a_result.refined)


def test_the_filled_box_holds_every_voxel_and_little_else(
    refined_node: Any, a_result: Segmentation
) -> None:
    start, stop = filledBox([refined_node], a_result.geometry)
    used = np.argwhere(a_result.refined)
    assert start == tuple(used.min(axis=0))
    assert stop == tuple(used.max(axis=0) + 1)
