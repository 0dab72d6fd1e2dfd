"""Found boxes as regions in the scene."""

from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.images.roi import parse_roi, roi_to_box
from MorseCore.result import Segmentation
from MorseSegmentLib.logic.inputs import regionText
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.regions import RegionWatch, addRegions, regionIDs
from MorseSegmentLib.scene.result import SceneWriter

LEFT = {"lower": [1, 2, 3], "upper": [5, 7, 6], "frame": "ijk"}
RIGHT = {"lower": [6, 2, 3], "upper": [11, 8, 7], "frame": "ijk"}


def found(*regions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"found": {"regions": [{"name": name, "roi": roi} for name, roi in regions]}}


@pytest.fixture
def shown(a_scene: Any, a_result: Segmentation, a_volume_node: Any) -> SceneResult:
    a_result.report.update(found(("Left hippocampus", LEFT), ("Right hippocampus", RIGHT)))
    result = SceneWriter(a_scene).show(a_result, a_volume_node)
    addRegions(a_scene, result, a_volume_node)
    return result


def boxes(scene: Any, shown: SceneResult) -> list[Any]:
    return [scene.GetNodeByID(node_id) for node_id in regionIDs(scene, shown)]


def test_found_boxes_are_named_regions_of_which_only_the_edges_are_seen(
    a_scene: Any, shown: SceneResult
) -> None:
    nodes = boxes(a_scene, shown)
    assert [node.GetName() for node in nodes] == [
        "Left hippocampus region", "Right hippocampus region",
    ]  # fmt: skip
    for node in nodes:
        display = node.GetDisplayNode()
        assert display.GetVisibility()
        assert (display.GetFillVisibility(), display.GetOutlineVisibility()) == (False, True)


@pytest.mark.parametrize("mirrored", [False, True], ids=["right-handed", "left-handed"])
def test_a_region_has_the_corners_of_the_found_box(
    a_scene: Any, a_result: Segmentation, a_geometry: Geometry, mirrored: bool
) -> None:
    matrix = a_geometry.ijk_to_ras @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0, 1.0])
    volume = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(volume, np.zeros(a_geometry.shape, np.int16))
    a_result.report.update(found(("head", LEFT)))
    shown = SceneWriter(a_scene).show(a_result, volume)
    addRegions(a_scene, shown, volume)
    (node,) = boxes(a_scene, shown)
    assert node.GetName() == "Head region"
    frame = slicer.util.arrayFromVTKMatrix(node.GetObjectToNodeMatrix())
    assert np.linalg.det(frame[:3, :3]) == pytest.approx(1)
    halves = np.array(node.GetSize()) / 2
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    corners = signs * halves @ frame[:3, :3].T + frame[:3, 3]
    index = Geometry(a_geometry.shape, matrix).to_index(corners)
    np.testing.assert_allclose(index.min(axis=0), [0.5, 1.5, 2.5], atol=1e-4)
    np.testing.assert_allclose(index.max(axis=0), [4.5, 6.5, 5.5], atol=1e-4)


def test_the_region_of_an_upright_scan_is_the_box_that_was_found(
    a_scene: Any, a_result: Segmentation
) -> None:
    volume = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    grid = Geometry((8, 10, 12), np.diag([-0.7, 1.3, 2.0, 1.0]))
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    slicer.util.updateVolumeFromArray(volume, np.zeros(grid.shape, np.int16))
    a_result.report.update(found(("head", LEFT)))
    shown = SceneWriter(a_scene).show(a_result, volume)
    addRegions(a_scene, shown, volume)
    text = regionText(boxes(a_scene, shown)[0], volume)
    assert roi_to_box(parse_roi(text), grid) == ((3, 2, 1), (6, 7, 5))


def test_regions_go_with_their_result_and_hide_those_of_another(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, shown: SceneResult
) -> None:
    again = SceneWriter(a_scene).show(a_result, a_volume_node)
    addRegions(a_scene, again, a_volume_node)
    assert [node.GetDisplayNode().GetVisibility() for node in boxes(a_scene, shown)] == [0, 0]
    assert [node.GetDisplayNode().GetVisibility() for node in boxes(a_scene, again)] == [1, 1]
    SceneWriter(a_scene).remove(again)
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 2


def test_where_no_place_was_found_there_is_no_region(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shown = SceneWriter(a_scene).show(a_result, a_volume_node)
    addRegions(a_scene, shown, a_volume_node)
    assert regionIDs(a_scene, shown) == []


def test_only_a_box_that_moves_counts_as_moved(a_scene: Any, shown: SceneResult) -> None:
    moved: list[str] = []
    watch = RegionWatch(a_scene, lambda node: moved.append(node.GetName()))
    watch.look(regionIDs(a_scene, shown))
    first, second = boxes(a_scene, shown)
    first.SetName("Mine")
    first.GetDisplayNode().SetVisibility(False)
    first.SetLocked(True)
    assert moved == []
    second.SetXYZ(1, 2, 3)
    assert set(moved) == {"Right hippocampus region"}
    watch.look([])
    moved.clear()
    second.SetXYZ(3, 2, 1)
    assert moved == []
