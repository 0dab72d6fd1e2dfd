"""What a person chose, in the terms of the worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.roi import parse_roi, roi_to_box
from MorseSegmentLib.logic.inputs import modalityOf, readVolume, regionText
from MorseSegmentLib.logic.segmenter import Segmenter
from MorseSegmentLib.logic.sequences import Frame, findSequence
from MorseSegmentLib.worker.launch import WorkerCommand
from MorseSegmentLib.worker.subprocess import SubprocessRunner


def moved(scene: Any, node: Any, *, turn: float, shift: float) -> vtk.vtkTransform:
    """Put a node under a linear transform of its own."""
    transform = vtk.vtkTransform()
    transform.Translate(shift, -shift, 2 * shift)
    transform.RotateWXYZ(turn, 0.3, 0.5, 0.8)
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parent.SetMatrixTransformToParent(transform.GetMatrix())
    node.SetAndObserveTransformNodeID(parent.GetID())
    return transform


def bend(scene: Any, node: Any) -> None:
    parent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Warp")
    node.SetAndObserveTransformNodeID(parent.GetID())


@pytest.fixture
def a_roi_node(a_scene: Any) -> Any:
    """A box around the middle of the volume's grid, 4 x 6 x 8 mm, upright."""
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    node.SetSize(4.0, 6.0, 8.0)
    return node


def bounds(text: str | None) -> np.ndarray:
    assert text is not None
    roi = parse_roi(text)
    assert roi.frame == "ras"
    return np.array([roi.lower, roi.upper])


def test_a_volume_is_read_in_its_own_ras_whatever_transform_it_is_under(
    a_scene: Any, a_volume_node: Any, a_geometry: Geometry
) -> None:
    moved(a_scene, a_volume_node, turn=40.0, shift=12.0)
    volume = readVolume(a_volume_node)
    assert volume.name == "Image"
    assert volume.array.shape == a_geometry.shape
    np.testing.assert_array_equal(
        volume.array.ravel(), np.arange(np.prod(a_geometry.shape), dtype=np.int16)
    )
    assert volume.geometry.is_close(a_geometry, tolerance=1e-9)
    np.testing.assert_allclose(volume.matrix, a_geometry.ijk_to_ras)


def test_a_single_slice_is_a_volume(a_scene: Any) -> None:
    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Slice")
    slicer.util.updateVolumeFromArray(node, np.zeros((1, 5, 6), np.uint8))
    assert readVolume(node).array.shape == (1, 5, 6)


def test_what_cannot_be_segmented_is_said_with_what_to_do(a_scene: Any, a_volume_node: Any) -> None:
    with pytest.raises(MorseError, match="Choose a volume"):
        readVolume(None)
    empty = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(MorseError, match="'Empty' holds no image"):
        readVolume(empty)
    empty.SetAndObserveImageData(vtk.vtkImageData())
    with pytest.raises(MorseError, match="'Empty' holds no voxels"):
        readVolume(empty)
    labels = a_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    slicer.util.updateVolumeFromArray(labels, np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(MorseError, match="'Labels' is a label map"):
        readVolume(labels)
    colours = a_scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    slicer.util.updateVolumeFromArray(colours, np.zeros((2, 3, 4, 3), np.uint8))
    with pytest.raises(MorseError, match="'Photo' has 3 values in each voxel"):
        readVolume(colours)
    bend(a_scene, a_volume_node)
    with pytest.raises(MorseError, match=r"'Warp', which bends space; harden it first"):
        readVolume(a_volume_node)


def test_an_upright_box_is_said_in_ras(a_volume_node: Any, a_roi_node: Any) -> None:
    a_roi_node.SetCenter(-30.0, 55.0, -100.0)
    expected = [[-32.0, 52.0, -104.0], [-28.0, 58.0, -96.0]]
    np.testing.assert_allclose(bounds(regionText(a_roi_node, a_volume_node)), expected)


def test_no_box_is_no_region(a_volume_node: Any) -> None:
    assert regionText(None, a_volume_node) is None


def test_a_turned_box_is_covered_by_an_upright_one(a_volume_node: Any, a_roi_node: Any) -> None:
    turn = vtk.vtkTransform()
    turn.Translate(-30.0, 55.0, -100.0)
    turn.RotateZ(90.0)
    a_roi_node.SetCenter(0.0, 0.0, 0.0)
    a_roi_node.SetAndObserveObjectToNodeMatrix(turn.GetMatrix())
    a_roi_node.SetSize(4.0, 6.0, 8.0)
    expected = [[-33.0, 53.0, -104.0], [-27.0, 57.0, -96.0]]
    np.testing.assert_allclose(bounds(regionText(a_roi_node, a_volume_node)), expected, atol=1e-6)


def test_a_box_and_a_volume_under_one_transform_are_as_under_none(
    a_scene: Any, a_volume_node: Any, a_roi_node: Any
) -> None:
    a_roi_node.SetCenter(-30.0, 55.0, -100.0)
    alone = bounds(regionText(a_roi_node, a_volume_node))
    moved(a_scene, a_volume_node, turn=40.0, shift=12.0)
    a_roi_node.SetAndObserveTransformNodeID(a_volume_node.GetTransformNodeID())
    np.testing.assert_allclose(bounds(regionText(a_roi_node, a_volume_node)), alone, atol=1e-6)


def test_every_corner_of_a_box_under_another_transform_is_in_the_region(
    a_scene: Any, a_volume_node: Any, a_roi_node: Any
) -> None:
    of_volume = moved(a_scene, a_volume_node, turn=40.0, shift=12.0)
    of_roi = moved(a_scene, a_roi_node, turn=-25.0, shift=3.0)
    low, high = bounds(regionText(a_roi_node, a_volume_node, check=False))
    corners = []
    for signs in np.ndindex(2, 2, 2):
        corner = (np.array(signs) - 0.5) * [4.0, 6.0, 8.0] + a_roi_node.GetCenter()
        world = of_roi.TransformPoint(corner)
        corners.append(of_volume.GetLinearInverse().TransformPoint(world))
    np.testing.assert_allclose(low, np.min(corners, axis=0), atol=1e-6)
    np.testing.assert_allclose(high, np.max(corners, axis=0), atol=1e-6)


def test_a_box_along_voxel_faces_takes_in_no_further_voxel(a_scene: Any, a_roi_node: Any) -> None:
    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Thirds")
    node.SetSpacing(0.1, 0.7, 1 / 3)
    slicer.util.updateVolumeFromArray(node, np.zeros((30, 30, 60), np.int16))
    a_roi_node.SetCenter(1.95, 6.65, 4.5)
    a_roi_node.SetSize(2.0, 7.0, 2.0)
    text = regionText(a_roi_node, node)
    assert text is not None
    start, stop = roi_to_box(parse_roi(text), readVolume(node).geometry)
    assert (start, stop) == ((11, 5, 10), (17, 15, 30))


def test_a_box_that_is_empty_or_outside_or_bent_is_said(
    a_scene: Any, a_volume_node: Any, a_roi_node: Any
) -> None:
    fresh = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Fresh")
    with pytest.raises(MorseError, match="'Fresh' is empty; draw a box"):
        regionText(fresh, a_volume_node)
    a_roi_node.SetCenter(500.0, 0.0, 0.0)
    with pytest.raises(MorseError, match="lies outside the image"):
        regionText(a_roi_node, a_volume_node)
    bend(a_scene, a_roi_node)
    with pytest.raises(MorseError, match="harden it first"):
        regionText(a_roi_node, a_volume_node)


def test_all_frames_of_a_sequence_can_be_read_while_one_is_seen(
    a_scene: Any, a_moving_volume: Any
) -> None:
    sequence = findSequence(a_scene, a_moving_volume)
    assert sequence is not None
    assert sequence.frames() == [Frame(0, "0.0 s"), Frame(1, "0.5 s"), Frame(2, "1.0 s")]
    sequence.show(1)
    assert sequence.current == 1
    assert [int(sequence.read(frame.number).array.max()) for frame in sequence.frames()] == [
        0, 1, 2,
    ]  # fmt: skip
    assert sequence.current == 1
    assert readVolume(a_moving_volume).array.max() == 1


def test_an_ordinary_volume_is_in_no_sequence(a_scene: Any, a_volume_node: Any) -> None:
    assert findSequence(a_scene, a_volume_node) is None
    assert findSequence(a_scene, None) is None


def note_modality(scene: Any, node: Any, modality: str) -> None:
    """What Slicer's DICOM module does with a volume that it loads."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node) or tree.CreateItem(tree.GetSceneItemID(), node)
    tree.SetItemAttribute(item, "DICOM.Modality", modality)


def test_the_modality_of_dicom_files_is_handed_on(a_scene: Any, a_volume_node: Any) -> None:
    """Where Slicer's DICOM module notes it: at the volume's place in the tree of subjects."""
    assert readVolume(a_volume_node).modality == ""
    note_modality(a_scene, a_volume_node, "")
    assert modalityOf(a_volume_node) == ""
    note_modality(a_scene, a_volume_node, "CT")
    assert readVolume(a_volume_node).modality == "CT"
    assert modalityOf(slicer.vtkMRMLScalarVolumeNode()) == "", "of no scene"


def test_the_worker_is_told_the_modality(a_scene: Any, a_volume_node: Any, tmp_path: Path) -> None:
    sent: list[Any] = []

    class Silent(SubprocessRunner):
        def send(self, request: Any) -> None:
            sent.append(request)

    note_modality(a_scene, a_volume_node, "MR")
    segmenter = Segmenter(a_scene, Silent(WorkerCommand("", ()), str(tmp_path)), lambda f: f())
    segmenter.start(a_volume_node, {"model": "phantom-tiny"})
    segmenter.close()
    assert [request.modality for request in sent] == ["MR"]
