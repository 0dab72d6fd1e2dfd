"""Views go to a result, and to a structure that is bent."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.logic.inputs import fitBox
from MorseSegmentLib.scene import views
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.views import goTo, jumpTo

SHAPE = (20, 24, 28)


@pytest.fixture
def an_axial_view(a_scene: Any) -> Iterator[Any]:
    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName("Red")
    node = a_scene.AddNode(node)
    node.SetOrientation("Axial")
    yield node
    a_scene.RemoveNode(node)  # closing the scene keeps it


@pytest.fixture
def a_ring(a_scene: Any) -> Any:
    """A ring, in whose middle there is nothing of it, and a small ball elsewhere."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:11, 5:16, 5:16] = 1
    labels[8:11, 7:14, 7:14] = 0
    labels[15:17, 20:22, 22:24] = 2
    geometry = Geometry(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))
    structures = (Structure(1, "Ring", (1, 0, 0)), Structure(2, "Ball", (0, 1, 0)))
    rows = [{"value": 2, "refined_ml": 0.1}, {"value": 1, "refined_ml": 3.0}]
    zeros = np.zeros(SHAPE, np.float32)
    points = RenderedPoints.empty()
    return Segmentation(
        geometry, structures, labels, labels, zeros, points, {"structures": rows}
    )  # fmt: skip


def centre(view: Any) -> list[float]:
    return [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]


def test_slices_cut_the_largest_structure_and_cameras_see_all_of_it(
    a_scene: Any, a_ring: Segmentation, an_axial_view: Any
) -> None:
    camera = a_scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(0, 10, 0)
    shown = SceneWriter(a_scene).show(a_ring)
    goTo(a_scene, shown)
    r, a, s = (
        round(value / step) for value, step in zip(centre(an_axial_view), (1, 2, 3), strict=True)
    )
    assert a_ring.refined[s, a, r] == 1
    # Voxels 5 to 23 along r, 5 to 21 along a, 8 to 16 along s, with their faces.
    low, high = np.array([4.5, 9.0, 22.5]), np.array([23.5, 43.0, 49.5])
    assert camera.GetFocalPoint() == pytest.approx((low + high) / 2)
    back = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
    assert back[[0, 2]] == pytest.approx(0), "from where it looked before"
    radius = np.linalg.norm(high - low) / 2
    assert radius / back[1] == pytest.approx(np.sin(np.radians(15)), rel=1e-3)


@pytest.mark.parametrize("looked_at", [1 << 21, 100], ids=["every voxel", "some voxels"])
def test_a_jump_ends_in_the_structure_and_not_in_a_hole_of_it(
    a_scene: Any, a_ring: Segmentation, an_axial_view: Any, monkeypatch: pytest.MonkeyPatch,
    looked_at: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(views, "_LOOKED_AT", looked_at)
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 100.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    shown = SceneWriter(a_scene).show(a_ring)
    a_scene.GetNodeByID(shown.refined).SetAndObserveTransformNodeID(transform.GetID())
    for value in (1, 2):
        assert jumpTo(a_scene, shown, value)
        place = np.subtract(centre(an_axial_view), 100.0) / (1, 2, 3)
        i, j, k = place.round().astype(int)
        assert a_ring.refined[k, j, i] == value
    assert not jumpTo(a_scene, shown, 3)


def test_an_empty_result_moves_no_view(
    a_scene: Any, a_ring: Segmentation, an_axial_view: Any
) -> None:
    a_ring.refined[:] = 0
    before = centre(an_axial_view)
    goTo(a_scene, SceneWriter(a_scene).show(a_ring))
    assert centre(an_axial_view) == before


def test_a_box_is_shown_by_its_edges(a_scene: Any, a_volume_node: Any) -> None:
    box = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    fitBox(box, a_volume_node)
    display = box.GetDisplayNode()
    assert (display.GetFillVisibility(), display.GetOutlineVisibility()) == (False, True)
