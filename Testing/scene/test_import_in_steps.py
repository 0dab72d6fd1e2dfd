"""A result comes into the scene in short steps, cut to what it holds, and whole or not at all."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation, Structure
from MorseCore.system.steps import finished
from MorseSegmentLib.scene import cropping
from MorseSegmentLib.scene.cropping import cropInSteps, keepPoints
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.result import SceneWriter


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def pasted(piece: cropping.Piece, shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, piece.values.dtype)
    stop = [a + n for a, n in zip(piece.start, piece.values.shape, strict=True)]
    whole[tuple(slice(a, b) for a, b in zip(piece.start, stop, strict=True))] = piece.values
    return whole


@pytest.mark.parametrize("slab", [1, 200, 1 << 20])
def test_maps_are_cut_to_what_they_hold(
    a_result: Segmentation, monkeypatch: pytest.MonkeyPatch, slab: int
) -> None:
    monkeypatch.setattr(cropping, "_SLAB", slab)
    a_result.uncertainty[:] = 0
    a_result.uncertainty[1:3, 4, 2:7] = 0.5
    pieces = finished(cropInSteps(a_result))
    shape = a_result.refined.shape
    np.testing.assert_array_equal(pasted(pieces["refined"], shape), a_result.refined)
    np.testing.assert_array_equal(pasted(pieces["coarse"], shape), a_result.coarse)
    assert pieces["coarse"].values.shape == (5, 4, 5)
    assert pieces["refined"].values.shape == (5, 4, 6)
    unsure = pieces["uncertainty"]
    assert (unsure.start, unsure.values.shape) == ((1, 4, 2), (2, 1, 5))
    np.testing.assert_array_equal(pasted(unsure, shape), a_result.uncertainty)


def test_of_an_empty_map_a_voxel_is_left(a_result: Segmentation) -> None:
    a_result.refined[:] = 0
    assert finished(cropInSteps(a_result))["refined"].values.shape == (1, 1, 1)


def test_a_structure_that_is_not_wanted_leaves_no_voxel_and_no_point(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    points = replace(
        a_result.points,
        coarse_label=np.array([1, 2, 2, 0, 1], np.int32),
        refined_label=np.array([1, 1, 2, 2, 0], np.int32),
    )
    only = [s for s in a_result.structures if s.value == 1]
    shown = SceneWriter(a_scene).show(
        replace(a_result, structures=only, points=points), a_volume_node
    )
    node = a_scene.GetNodeByID(shown.refined)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["Head"]
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Head", a_volume_node)
    np.testing.assert_array_equal(found > 0, a_result.refined == 1)
    image = node.GetBinaryLabelmapInternalRepresentation("Head")
    assert image.GetScalarRange() == (0, 1)
    table = PointTable.read(a_scene.GetNodeByID(shown.pointTable)).points
    assert table.coarse_label.tolist() == [1, 0, 1]
    assert table.refined_label.tolist() == [1, 1, 0]


def test_points_between_wanted_structures_and_background_stay(a_result: Segmentation) -> None:
    assert len(keepPoints(a_result.points, [1, 2, 7])) == len(a_result.points)


def test_the_uncertainty_lies_where_it_was(
    a_scene: Any, a_result: Segmentation, a_geometry: Geometry
) -> None:
    a_result.uncertainty[:] = 0
    a_result.uncertainty[2:4, 3:6, 4:8] = 0.7
    node = a_scene.GetNodeByID(SceneWriter(a_scene).show(a_result).uncertainty)
    assert geometryOf(node).is_close(a_geometry.crop((2, 3, 4), (4, 6, 8)))
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(node), np.full((2, 3, 4), 0.7, np.float32)
    )


def test_every_segment_and_every_list_of_points_is_a_step_of_its_own(
    a_scene: Any, a_result: Segmentation
) -> None:
    many = [Structure(n, f"Structure {n}", (0.5, 0.5, 0.5)) for n in range(1, 33)]
    steps = SceneWriter(a_scene).showInSteps(replace(a_result, structures=many))
    most, before = 0, 0
    for _ in steps:
        nodes = [
            a_scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
            for n in range(a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
        ]
        now = sum(node.GetSegmentation().GetNumberOfSegments() for node in nodes)
        now += a_scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
        most, before = max(most, now - before), now
    assert before == 2 * 32 + 5
    assert most == 1


@pytest.mark.parametrize("steps_done", [1, 8, 12, 14, 17])
def test_what_is_stopped_on_its_way_leaves_no_node(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, steps_done: int
) -> None:
    before = node_ids(a_scene)
    steps = SceneWriter(a_scene).showInSteps(a_result, a_volume_node)
    for _ in range(steps_done):
        next(steps)
    steps.close()
    assert node_ids(a_scene) == before
