"""A result comes into the scene in short steps, cut to what it holds, and whole or not at all."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation, Structure
from MorseCore.system.steps import finished
from MorseSegmentLib.refine import surfacequeue
from MorseSegmentLib.refine.layers import SURFACE
from MorseSegmentLib.refine.replace import ResultReplacer
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import UndoStack
from MorseSegmentLib.scene import cropping
from MorseSegmentLib.scene.cropping import cropInSteps, keepPoints
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.masks import boxesOf
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import findResults
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.segments import scalarsOf


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


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_voxels_become_an_image_s_without_a_copy_and_live_as_long(kind: type) -> None:
    voxels = np.full((3, 4, 5), 7, kind)
    image = vtk.vtkImageData()
    image.SetDimensions(5, 4, 3)
    image.GetPointData().SetScalars(scalarsOf(voxels))
    assert np.shares_memory(vtk_to_numpy(image.GetPointData().GetScalars()), voxels)
    memory = weakref.ref(voxels)
    del voxels
    gc.collect()
    assert memory() is not None
    assert (vtk_to_numpy(image.GetPointData().GetScalars()) == 7).all()
    image.GetPointData().SetScalars(None)
    gc.collect()
    assert memory() is None


def test_a_result_leaves_node_by_node_and_nobody_finds_half_of_it(
    a_scene: Any, a_result: Segmentation
) -> None:
    writer, before = SceneWriter(a_scene), node_ids(a_scene)
    shown = writer.show(a_result)
    left = set(shown.nodeIDs())
    for _ in writer.removeInSteps(shown):
        now = left & node_ids(a_scene)
        assert len(left - now) <= 1
        assert findResults(a_scene) == []
        left = now
    assert node_ids(a_scene) == before


@pytest.mark.parametrize("steps_done", [1, 4, 9])
def test_a_removal_that_is_stopped_on_its_way_leaves_no_node(
    a_scene: Any, a_result: Segmentation, steps_done: int
) -> None:
    writer, before = SceneWriter(a_scene), node_ids(a_scene)
    steps = writer.removeInSteps(writer.show(a_result))
    for _ in range(steps_done):
        next(steps)
    steps.close()
    assert node_ids(a_scene) == before


@pytest.mark.parametrize("steps_left", [1, 4, 12])
def test_a_finer_result_that_is_stopped_on_its_way_changes_nothing(
    a_scene: Any, a_result: Segmentation, steps_left: int
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_result), UndoStack()
    replacer, before = ResultReplacer(a_scene, undo), node_ids(a_scene)
    count = sum(1 for _ in replacer.replaceInSteps(shown, a_result))
    undo.undo()
    steps = replacer.replaceInSteps(shown, a_result)
    for _ in range(count + 1 - steps_left):
        next(steps)
    steps.close()
    assert node_ids(a_scene) == before
    assert a_scene.GetNodeByID(shown.refined).GetDisplayNode().GetVisibility()
    assert undo.title is None


def test_one_surface_at_most_is_made_in_a_turn_from_slabs_of_the_image(
    a_scene: Any, a_result: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cropping, "_SLAB", 1)  # a slice
    node = a_scene.GetNodeByID(SceneWriter(a_scene).show(a_result).refined)
    segmentation, turns = node.GetSegmentation(), []
    looked: list[int] = []
    monkeypatch.setattr(
        surfacequeue,
        "boxesOf",
        lambda part, *rest: (looked.append(len(part)), boxesOf(part, *rest)),
    )
    queue = SurfaceQueue(a_scene, turns.append)
    queue.show(node)

    def triangles() -> list[int]:
        surfaces = map(segmentation.GetSegment, segmentation.GetSegmentIDs())
        return [s.GetRepresentation(SURFACE).GetNumberOfPolys() for s in surfaces]

    made = sum(map(bool, triangles()))
    while turns:
        turns.pop(0)()
        now = sum(map(bool, triangles()))
        assert now - made <= 1
        made = now
    assert [bool(n) for n in triangles()] == [True, True, False], "'Absent' has no voxel"
    assert set(looked) == {1}
    image = node.GetBinaryLabelmapInternalRepresentation("Head")
    assert len(looked) == image.GetDimensions()[2], "the image they share is searched once"


def test_a_segmentation_that_goes_between_two_turns_ends_its_surfaces(
    a_scene: Any, a_result: Segmentation
) -> None:
    node = a_scene.GetNodeByID(SceneWriter(a_scene).show(a_result).refined)
    turns: list[Any] = []
    queue = SurfaceQueue(a_scene, turns.append)
    queue.show(node)
    a_scene.RemoveNode(node)
    while turns:
        turns.pop(0)()
    assert not queue.isBusy
