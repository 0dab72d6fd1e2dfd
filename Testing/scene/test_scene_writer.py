"""What SceneWriter puts into a scene, and that it takes all of it out again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseSegmentLib.scene import result as scene_module
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def voxels(scene: Any, node_id: str, segment_id: str, reference: Any) -> np.ndarray:
    """(K, J, I) bool of a segment on the reference volume's grid."""
    node = scene.GetNodeByID(node_id)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, reference) > 0


def shown_nodes(scene: Any, shown: SceneResult) -> list[Any]:
    ids = (shown.coarse, shown.refined, shown.uncertainty, *shown.points)
    return [scene.GetNodeByID(node_id) for node_id in ids]


def test_both_masks_have_the_voxels_of_the_result(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    for node_id, labels in ((shown.coarse, a_result.coarse), (shown.refined, a_result.refined)):
        for structure in a_result.structures:
            found = voxels(a_scene, node_id, structure.name, a_volume_node)
            np.testing.assert_array_equal(found, labels == structure.value)


def test_segments_keep_names_colours_and_terminology(a_scene: Any, a_result: Segmentation) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    segmentation = a_scene.GetNodeByID(shown.refined).GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == ["Head", "Tail", "Absent"]
    for structure in a_result.structures:
        segment = segmentation.GetSegment(structure.name)
        assert segment.GetName() == structure.name
        assert segment.GetColor() == pytest.approx(structure.color)
    entry = vtk.reference("")
    head = segmentation.GetSegment("Head")
    assert head.GetTag(head.GetTerminologyEntryTagName(), entry)
    assert str(entry) == "Anatomy~Tissue^Hippocampus~~~"


def test_all_segments_share_one_layer(a_scene: Any, a_result: Segmentation) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    assert a_scene.GetNodeByID(shown.refined).GetSegmentation().GetNumberOfLayers() == 1


def test_a_result_without_any_voxel_still_has_its_segments(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    a_result.refined[:] = 0
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    assert not voxels(a_scene, shown.refined, "Head", a_volume_node).any()


def test_editing_one_segment_leaves_the_others(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    corner = np.zeros(a_result.refined.shape, np.uint8)
    corner[0, 0, :3] = 1
    node = a_scene.GetNodeByID(shown.refined)
    slicer.util.updateSegmentBinaryLabelmapFromArray(corner, node, "Absent", a_volume_node)
    for segment_id, expected in (
        ("Absent", corner > 0),
        ("Head", a_result.refined == 1),
        ("Tail", a_result.refined == 2),
    ):
        found = voxels(a_scene, shown.refined, segment_id, a_volume_node)
        np.testing.assert_array_equal(found, expected)


def test_coarse_is_an_outline_drawn_after_the_refined_fill(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    coarse = a_scene.GetNodeByID(shown.coarse).GetDisplayNode()
    refined = a_scene.GetNodeByID(shown.refined).GetDisplayNode()
    assert (coarse.GetVisibility2DOutline(), coarse.GetVisibility2DFill()) == (1, 0)
    assert (refined.GetVisibility2DOutline(), refined.GetVisibility2DFill()) == (0, 1)
    order = [
        a_scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode").GetID()
        for n in range(a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]
    assert order == [shown.refined, shown.coarse]


@pytest.mark.parametrize("with_volume", [False, True], ids=["from the result", "from the volume"])
def test_the_reference_geometry_is_the_result_s_grid(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, with_volume: bool
) -> None:
    shown = SceneWriter(a_scene).show(a_result, a_volume_node if with_volume else None)
    segmentation = a_scene.GetNodeByID(shown.refined).GetSegmentation()
    text = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    image = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    found = Geometry(image.GetDimensions()[::-1], slicer.util.arrayFromVTKMatrix(matrix))
    assert found.is_close(a_result.geometry)


def test_the_uncertainty_volume_equals_the_result(
    a_scene: Any, a_result: Segmentation, a_geometry: Geometry
) -> None:
    shown = SceneWriter(a_scene).show(a_result)
    node = a_scene.GetNodeByID(shown.uncertainty)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), a_result.uncertainty)
    assert geometryOf(node).is_close(a_geometry, tolerance=1e-9)
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert display.GetColorNodeID() == shown.uncertaintyColors


def test_everything_hangs_under_the_input_s_transform(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    parents = {node.GetTransformNodeID() for node in shown_nodes(a_scene, shown)}
    assert parents == {transform.GetID()}


def test_a_result_on_a_finer_grid_keeps_its_own_voxels(
    a_scene: Any, a_result: Segmentation, a_geometry: Geometry
) -> None:
    coarser = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Thick slices")
    matrix = a_geometry.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarser.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(coarser, np.zeros((4, 5, 6), np.int16))
    shown = SceneWriter(a_scene).show(a_result, coarser)
    uncertainty = a_scene.GetNodeByID(shown.uncertainty)
    found = voxels(a_scene, shown.refined, "Head", uncertainty)
    np.testing.assert_array_equal(found, a_result.refined == 1)


def test_the_nodes_are_filed_under_the_input(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    image = hierarchy.CreateItem(hierarchy.GetSceneItemID(), a_volume_node)
    shown = SceneWriter(a_scene).show(a_result, a_volume_node, name="Hippocampus")
    assert hierarchy.GetItemParent(shown.folder) == image
    assert hierarchy.GetItemName(shown.folder) == "Hippocampus"
    for node in shown_nodes(a_scene, shown):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == shown.folder


def test_surfaces_are_made_on_request_only(a_scene: Any, a_result: Segmentation) -> None:
    writer = SceneWriter(a_scene)
    node = a_scene.GetNodeByID(writer.show(a_result).refined)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    writer.createSurface(node)
    surface = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation("Head", surface)
    assert surface.GetNumberOfPoints() > 0


def test_removing_a_saved_result_leaves_no_node_behind(
    a_scene: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    before = node_ids(a_scene)
    writer = SceneWriter(a_scene)
    shown = writer.show(a_result)
    a_scene.WriteToMRB(str(tmp_path / "saved.mrb"))  # saving gives every node a storage node
    assert len(node_ids(a_scene)) > len(before) + 15
    writer.remove(shown)
    assert node_ids(a_scene) == before


def test_removing_a_result_leaves_what_a_person_put_into_its_folder(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    image = hierarchy.CreateItem(hierarchy.GetSceneItemID(), a_volume_node)
    writer = SceneWriter(a_scene)
    shown = writer.show(a_result)
    hierarchy.SetItemParent(image, shown.folder)
    writer.remove(shown)
    assert hierarchy.GetItemByDataNode(a_volume_node) == image
    assert hierarchy.GetNumberOfItems() == 1


def test_two_results_are_removed_one_by_one(a_scene: Any, a_result: Segmentation) -> None:
    writer = SceneWriter(a_scene)
    first = writer.show(a_result, name="Case")
    between = node_ids(a_scene)
    second = writer.show(a_result, name="Case")
    assert a_scene.GetNodeByID(second.coarse).GetName() != "Case coarse"
    writer.remove(second)
    assert node_ids(a_scene) == between
    writer.remove(first)
    writer.remove(first)


@pytest.mark.parametrize("step", ["showAsOutline", "addPointsInSteps", "_attach", "SceneResult"])
def test_a_failure_midway_leaves_the_scene_as_it_was(
    a_scene: Any,
    a_result: Segmentation,
    a_volume_node: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("on purpose")

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    before = node_ids(a_scene)
    monkeypatch.setattr(scene_module, step, fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        SceneWriter(a_scene).show(a_result, a_volume_node)
    assert node_ids(a_scene) == before
    assert hierarchy.GetNumberOfItems() == 0


def test_a_saved_scene_comes_back_whole(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, tmp_path: Path
) -> None:
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    bundle = str(tmp_path / "case.mrb")
    assert a_scene.WriteToMRB(bundle)
    a_scene.Clear(False)
    assert a_scene.ReadFromMRB(bundle)
    image = a_scene.GetFirstNodeByName("Image")
    for structure in a_result.structures:
        found = voxels(a_scene, shown.refined, structure.name, image)
        np.testing.assert_array_equal(found, a_result.refined == structure.value)
    worst = a_scene.GetNodeByID(shown.points[-1])
    assert worst.GetLocked()
    position = slicer.util.arrayFromMarkupsControlPoints(worst)[0]
    np.testing.assert_allclose(position, a_result.points.positions[0], atol=1e-6)
    value = slicer.util.arrayFromMarkupsControlPointData(worst, "uncertainty")
    np.testing.assert_allclose(value, [0.95], atol=1e-6)
    assert not a_scene.GetNodeByID(shown.coarse).GetDisplayNode().GetVisibility2DFill()
