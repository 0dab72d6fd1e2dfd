"""A rendered block in the refined masks: exact, others untouched, undone exactly."""

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation, Structure
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.segments import LABELS, segmentIDs
from MorseSegmentLib.scene.stepping import Steps
from MorseSegmentLib.scene.voxels import labelsOf

BOX = (slice(1, 7), slice(2, 8), slice(2, 10))
START, STOP = (1, 2, 2), (7, 8, 10)


@pytest.fixture
def a_touching_result(a_result: Segmentation) -> Segmentation:
    """Three structures that touch, with values that are not 1, 2, 3."""
    refined = np.zeros_like(a_result.refined)
    refined[2:5, 3:7, 3:8] = 4
    refined[5:7, 3:7, 3:8] = 2
    refined[2:7, 7:9, 3:8] = 9
    structures = (
        Structure(4, "Head", (0.2, 0.7, 0.9)),
        Structure(2, "Tail", (0.9, 0.5, 0.1)),
        Structure(9, "Roof", (0.5, 0.5, 0.5)),
    )
    return Segmentation(
        a_result.geometry, structures, refined.copy(), refined, a_result.uncertainty,
        a_result.points,
    )  # fmt: skip


@pytest.fixture
def a_mixed_block() -> np.ndarray:
    """Every structure takes voxels from every other; (K, J, I) of BOX."""
    return np.random.default_rng(3).choice([0, 2, 4, 9], (6, 6, 8)).astype(np.uint8)


def node_of(scene: Any, shown: SceneResult) -> Any:
    return scene.GetNodeByID(shown.refined)


def labels(scene: Any, shown: SceneResult, result: Segmentation) -> np.ndarray:
    return labelsOf(node_of(scene, shown), result.geometry)


@pytest.mark.parametrize("layers", ["shared", "apart"])
def test_a_block_is_written_exactly_and_undone_exactly(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray, layers: str
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    segmentation = node_of(a_scene, shown).GetSegmentation()
    if layers == "apart":
        for segment_id in segmentIDs(node_of(a_scene, shown)).values():
            segmentation.SeparateSegmentLabelmap(segment_id)
    before_layers = segmentation.GetNumberOfLayers()
    box = a_touching_result.geometry.crop(START, STOP)
    number = finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    expected = a_touching_result.refined.copy()
    expected[BOX] = a_mixed_block
    np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), expected)
    assert number == (expected != a_touching_result.refined).sum()
    assert segmentation.GetNumberOfLayers() == before_layers
    assert undo.undo() == TakenBack("Re-rendered box")
    np.testing.assert_array_equal(
        labels(a_scene, shown, a_touching_result), a_touching_result.refined
    )
    assert segmentation.GetNumberOfLayers() == before_layers


def test_a_segment_that_a_person_added_stays_voxel_by_voxel(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray, a_volume_node: Any
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result, a_volume_node), UndoStack()
    node = node_of(a_scene, shown)
    drawn = np.zeros(a_touching_result.refined.shape, np.uint8)
    drawn[0:3, 0:5, 0:6] = 1
    node.GetSegmentation().AddEmptySegment("drawn", "Drawn")
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, "drawn", a_volume_node)
    box = a_touching_result.geometry.crop(START, STOP)
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    undo.undo()
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, "drawn", a_volume_node)
    np.testing.assert_array_equal(found, drawn)
    for value, segment_id in segmentIDs(node).items():
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, a_volume_node)
        expected = a_touching_result.refined == value
        expected[BOX] = a_mixed_block == value
        np.testing.assert_array_equal(found > 0, expected)


def test_a_person_s_segment_in_the_same_layer_stays_too(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown = SceneWriter(a_scene).show(a_touching_result)
    node = node_of(a_scene, shown)
    segment = node.GetSegmentation().GetSegment("Tail")
    segment.RemoveTag("MorseSegment.Value")  # now it is none of the model's
    tail = a_touching_result.refined == 2
    block = np.where(a_mixed_block == 2, 0, a_mixed_block)
    box = a_touching_result.geometry.crop(START, STOP)
    finished(LocalWriter(a_scene, shown, UndoStack()).writeInSteps(block, box))
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation("Tail", image)
    values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    assert values.sum() == tail.sum()


def test_several_steps_are_undone_one_by_one(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    writer = LocalWriter(a_scene, shown, undo)
    states = [a_touching_result.refined]
    geometry = a_touching_result.geometry
    for step in range(3):
        block = np.roll(a_mixed_block, step)
        finished(writer.writeInSteps(block, geometry.crop(START, STOP), title=f"Step {step}"))
        states.append(states[-1].copy())
        states[-1][BOX] = block
    for step in (2, 1, 0):
        np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), states[step + 1])
        assert undo.title == f"Step {step}"
        undo.undo()
    np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), states[0])
    assert undo.undo() is None


def test_the_oldest_steps_are_forgotten() -> None:
    undo, done = UndoStack(limit=2), []

    def step(name: str) -> Steps[TakenBack]:
        yield
        done.append(name)
        return TakenBack(note=name.upper())

    for name in "abc":
        undo.push(name, lambda name=name: step(name))
    assert [undo.undo(), undo.undo(), undo.undo()] == [
        TakenBack("c", "C"),
        TakenBack("b", "B"),
        None,
    ]
    assert done == ["c", "b"]


def test_a_block_may_lie_beyond_all_voxels_that_were_filled(
    a_scene: Any, a_result: Segmentation
) -> None:
    a_result.refined[:] = 0
    shown, undo = SceneWriter(a_scene).show(a_result), UndoStack()
    block = np.full((2, 2, 2), 7, np.uint8)
    geometry = a_result.geometry
    finished(
        LocalWriter(a_scene, shown, undo).writeInSteps(
            block, geometry.crop((6, 8, 10), (8, 10, 12))
        )
    )
    expected = np.zeros_like(a_result.refined)
    expected[6:, 8:, 10:] = 7
    np.testing.assert_array_equal(labels(a_scene, shown, a_result), expected)
    undo.undo()
    assert not labels(a_scene, shown, a_result).any()


def test_a_block_that_changes_nothing_leaves_nothing_to_undo(
    a_scene: Any, a_touching_result: Segmentation
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    box = a_touching_result.geometry.crop(START, STOP)
    assert (
        finished(
            LocalWriter(a_scene, shown, undo).writeInSteps(a_touching_result.refined[BOX], box)
        )
        == 0
    )
    assert undo.title is None


def test_a_finer_block_is_written_on_the_segmentation_s_own_grid(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown = SceneWriter(a_scene).show(a_touching_result)
    box = a_touching_result.geometry.crop(START, STOP)
    matrix = box.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    matrix[:3, 3] = box.to_world(np.full(3, -0.25))
    fine = Geometry(tuple(2 * n for n in box.shape), matrix)
    block = a_mixed_block.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    finished(LocalWriter(a_scene, shown, UndoStack()).writeInSteps(block, fine))
    expected = a_touching_result.refined.copy()
    expected[BOX] = a_mixed_block
    np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), expected)


@pytest.mark.parametrize("smoothing", ["0.5", "0.2", "0.0"])
def test_surfaces_are_made_anew_as_slicer_makes_them_and_only_if_there_were_some(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray, smoothing: str
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    node, box = node_of(a_scene, shown), a_touching_result.geometry.crop(START, STOP)
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    undo.undo()
    node.GetSegmentation().SetConversionParameter("Smoothing factor", smoothing)
    SceneWriter.createSurface(node)
    first = surface_points(node, "Head")
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    mine = {key: surface_points(node, key) for key in ("Head", "Tail", "Roof")}
    node.RemoveClosedSurfaceRepresentation()
    SceneWriter.createSurface(node)
    for key, points in mine.items():
        np.testing.assert_array_equal(points, surface_points(node, key))
    assert mine["Head"].shape != first.shape
    undo.undo()
    np.testing.assert_array_equal(surface_points(node, "Head"), first)


def test_a_surface_is_seen_until_the_new_one_is_there(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown, turns = SceneWriter(a_scene).show(a_touching_result), []
    node, box = node_of(a_scene, shown), a_touching_result.geometry.crop(START, STOP)
    SceneWriter.createSurface(node)
    first = surface_points(node, "Head")
    queue = SurfaceQueue(a_scene, later=turns.append)
    queue._stepper.start = lambda *_: None  # nothing is done yet
    finished(LocalWriter(a_scene, shown, UndoStack(), queue).writeInSteps(a_mixed_block, box))
    np.testing.assert_array_equal(surface_points(node, "Head"), first)


def surface_points(node: Any, segment_id: str) -> np.ndarray:
    surface = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation(segment_id, surface)
    return vtk.util.numpy_support.vtk_to_numpy(surface.GetPoints().GetData()).copy()


def test_what_a_person_edited_in_between_stays_and_is_counted(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    box = a_touching_result.geometry.crop(START, STOP)
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box))
    node = node_of(a_scene, shown)
    after = labels(a_scene, shown, a_touching_result)
    changed = np.argwhere((after != a_touching_result.refined) & (after > 0))[:2]
    image = node.GetBinaryLabelmapInternalRepresentation("Head")
    i0, _, j0, _, k0, _ = image.GetExtent()
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "Head")
    for k, j, i in changed:
        voxels[k - k0, j - j0, i - i0] = 0  # erased by hand
    image.Modified()
    back = undo.undo()
    expected = a_touching_result.refined.copy()
    expected[tuple(changed.T)] = 0
    np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), expected)
    assert back.note == "Voxels that were edited since and keep their edit: 2."


def test_nothing_is_seen_before_the_last_piece_and_an_edit_meanwhile_is_not_overwritten(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    box = a_touching_result.geometry.crop(START, STOP)
    steps = LocalWriter(a_scene, shown, undo).writeInSteps(a_mixed_block, box)
    next(steps)
    np.testing.assert_array_equal(
        labels(a_scene, shown, a_touching_result), a_touching_result.refined
    )
    node_of(a_scene, shown).GetBinaryLabelmapInternalRepresentation("Head").Modified()
    with pytest.raises(MorseError, match="edited meanwhile; nothing was changed"):
        finished(steps)
    np.testing.assert_array_equal(
        labels(a_scene, shown, a_touching_result), a_touching_result.refined
    )
    assert undo.title is None


def test_a_deleted_segmentation_is_named_and_the_step_forgotten(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_touching_result), UndoStack()
    writer = LocalWriter(a_scene, shown, undo)
    box = a_touching_result.geometry.crop(START, STOP)
    finished(writer.writeInSteps(a_mixed_block, box))
    a_scene.RemoveNode(node_of(a_scene, shown))
    with pytest.raises(MorseError, match="no longer in the scene"):
        undo.undo()
    assert undo.title is None
    with pytest.raises(MorseError, match="no longer in the scene"):
        finished(writer.writeInSteps(a_mixed_block, box))


def test_the_masks_of_a_moved_volume_are_written_in_its_own_ras(
    a_scene: Any, a_touching_result: Segmentation, a_mixed_block: np.ndarray, a_volume_node: Any
) -> None:
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = vtk.vtkTransform()
    turn.RotateZ(40.0)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    shown = SceneWriter(a_scene).show(a_touching_result, a_volume_node)
    box = a_touching_result.geometry.crop(START, STOP)
    finished(LocalWriter(a_scene, shown, UndoStack()).writeInSteps(a_mixed_block, box))
    expected = a_touching_result.refined.copy()
    expected[BOX] = a_mixed_block
    np.testing.assert_array_equal(labels(a_scene, shown, a_touching_result), expected)


def test_the_representation_s_name_is_slicer_s() -> None:
    converter = slicer.vtkSegmentationConverter
    assert converter.GetSegmentationBinaryLabelmapRepresentationName() == LABELS
