"""Surfaces of a probability as model nodes."""

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.surface import SurfaceWriter, extractInSteps
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.result import SceneWriter


@pytest.fixture
def a_ball() -> np.ndarray:
    """(K, J, I) that falls with the distance from voxel (8, 9, 10); 0.5 at 4 voxels."""
    k, j, i = np.ogrid[:17, :19, :21]
    distance = np.sqrt((k - 8.0) ** 2 + (j - 9.0) ** 2 + (i - 10.0) ** 2)
    return np.clip(1.0 - distance / 8.0, 0.0, 1.0).astype(np.float32)


def volume_of(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Signed: positive if the triangles face outwards."""
    a, b, c = (vertices[triangles[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("mirrored", [False, True], ids=["right-handed", "left-handed"])
def test_a_ball_s_surface_lies_at_the_level_and_faces_outwards(
    a_geometry: Geometry, a_ball: np.ndarray, mirrored: bool
) -> None:
    matrix = a_geometry.ijk_to_ras @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0, 1.0])
    geometry = Geometry(a_ball.shape, matrix)
    vertices, triangles = finished(extractInSteps(a_ball, geometry))
    radius = np.linalg.norm(geometry.to_index(vertices) - [10.0, 9.0, 8.0], axis=1)
    np.testing.assert_allclose(radius, 4.0, atol=0.1)
    assert volume_of(vertices, triangles) == pytest.approx(
        4 / 3 * np.pi * 64 * geometry.voxel_volume, rel=0.05
    )
    wider, _ = finished(extractInSteps(a_ball, geometry, level=0.25))
    radius = np.linalg.norm(geometry.to_index(wider) - [10.0, 9.0, 8.0], axis=1)
    np.testing.assert_allclose(radius, 6.0, atol=0.1)


def test_a_surface_that_meets_the_border_is_closed_there(a_geometry: Geometry) -> None:
    probability = np.ones((3, 4, 5), np.float32)
    geometry = Geometry(probability.shape, np.eye(4))
    vertices, triangles = finished(extractInSteps(probability, geometry))
    assert volume_of(vertices, triangles) == pytest.approx(60.0, rel=0.25)
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_a_surface_is_a_model_in_its_structure_s_colour_and_place(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, a_ball: np.ndarray
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), a_volume_node)
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    shown = SceneWriter(a_scene).show(a_result, a_volume_node, name="Case")
    # At a level that no voxel has: else triangles without area come out, which face nowhere.
    vertices, triangles = finished(
        extractInSteps(a_ball, Geometry(a_ball.shape, np.eye(4)), level=0.47)
    )
    undo = UndoStack()
    node_id = finished(
        SurfaceWriter(a_scene, shown, undo).addInSteps(vertices, triangles, structure=2)
    )
    node = a_scene.GetNodeByID(node_id)
    assert node.GetName() == "Case Tail surface"
    assert node.GetDisplayNode().GetColor() == pytest.approx(a_result.structures[1].color)
    assert node.GetTransformNodeID() == transform.GetID()
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == shown.folder
    mesh = node.GetPolyData()
    assert mesh.GetNumberOfPolys() == len(triangles)
    points = vtk.util.numpy_support.vtk_to_numpy(mesh.GetPoints().GetData())
    np.testing.assert_allclose(points, vertices, atol=1e-5)
    normals = vtk.util.numpy_support.vtk_to_numpy(mesh.GetPointData().GetNormals())
    outwards = ((vertices - [10.0, 9.0, 8.0]) * normals).sum(axis=1)
    assert (outwards > 0).all()


def test_undo_takes_the_model_away_with_all_that_came_with_it(
    a_scene: Any, a_result: Segmentation, a_ball: np.ndarray
) -> None:
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    shown, undo = SceneWriter(a_scene).show(a_result), UndoStack()
    before = a_scene.GetNumberOfNodes()
    vertices, triangles = finished(extractInSteps(a_ball, Geometry(a_ball.shape, np.eye(4))))
    node_id = finished(
        SurfaceWriter(a_scene, shown, undo).addInSteps(vertices, triangles, structure=1)
    )
    assert a_scene.GetNumberOfNodes() > before
    assert undo.undo() == TakenBack("Surface")
    assert a_scene.GetNodeByID(node_id) is None
    assert a_scene.GetNumberOfNodes() == before


def test_a_level_that_is_not_reached_is_said(
    a_scene: Any, a_result: Segmentation, a_ball: np.ndarray
) -> None:
    writer = SurfaceWriter(a_scene, SceneWriter(a_scene).show(a_result), UndoStack())
    surface = finished(extractInSteps(a_ball * 0.3, Geometry(a_ball.shape, np.eye(4))))
    with pytest.raises(MorseError, match="'Head' has no surface at this level"):
        finished(writer.addInSteps(*surface, structure=1))
    with pytest.raises(MorseError, match="no structure of the value 5"):
        finished(writer.addInSteps(*surface, structure=5))


def test_a_surface_that_a_person_edited_stays_and_that_is_said(
    a_scene: Any, a_result: Segmentation, a_ball: np.ndarray
) -> None:
    shown, undo = SceneWriter(a_scene).show(a_result), UndoStack()
    vertices, triangles = finished(extractInSteps(a_ball, Geometry(a_ball.shape, np.eye(4))))
    node = a_scene.GetNodeByID(
        finished(SurfaceWriter(a_scene, shown, undo).addInSteps(vertices, triangles, 1))
    )
    smoother = vtk.vtkSmoothPolyDataFilter()
    smoother.SetInputData(node.GetPolyData())
    smoother.Update()
    node.SetAndObserveMesh(smoother.GetOutput())
    assert "was edited since, so it stays" in undo.undo().note
    assert a_scene.IsNodePresent(node)
