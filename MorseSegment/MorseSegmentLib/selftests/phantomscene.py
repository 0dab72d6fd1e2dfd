"""Phantoms in the scene, and what a result of them has to be. No Qt."""

import unittest
from typing import Any

import numpy as np
import slicer

from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.geometry import geometryOf
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import referenceGeometry

__all__ = [
    "MODEL", "SEED", "addPhantom", "checkLabels", "checkPlace", "labelsOf", "linearTransform",
    "maskOf", "obliqueMatrix", "sceneContent",
]  # fmt: skip

MODEL = "phantom-tiny"
SEED = 7
_BALL, _ROD = 1, 2
_LEAST_OVERLAP = 0.8  # Dice of a ball or a rod; a mask that is shifted by two voxels has less


def addPhantom(matrix: np.ndarray | None = None) -> tuple[Any, np.ndarray]:
    """A vtkMRMLScalarVolumeNode of 28 x 28 x 28 voxels, and its labels (K, J, I).

    :param matrix: (4, 4) voxel indices (i, j, k) to RAS mm; None: 1 mm along the axes.
    """
    from MorseCore.training.phantoms import make_phantom  # needs scipy, so not at start

    voxels, labels = make_phantom(SEED)
    node = slicer.util.addVolumeFromArray(voxels, name="Phantom")
    if matrix is not None:
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node, labels


def obliqueMatrix() -> np.ndarray:
    """(4, 4): 1 mm voxels, turned about two axes, with an odd origin."""
    a, b = np.radians(23.0), np.radians(-37.0)
    aboutS = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    aboutR = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = aboutR @ aboutS
    matrix[:3, 3] = [-31.5, 44.25, -107.125]
    return matrix


def linearTransform() -> Any:
    """A vtkMRMLLinearTransformNode that turns and moves."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turned")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(obliqueMatrix()))
    return node


def sceneContent() -> set[str]:
    """IDs of all nodes but those that Slicer keeps for itself."""
    scene = slicer.mrmlScene
    nodes = (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes()))
    kept = "vtkMRMLSubjectHierarchyNode"  # made when it is first needed
    return {node.GetID() for node in nodes if not node.GetSingletonTag() and not node.IsA(kept)}


def maskOf(segmentationNode: Any, segment: str, volumeNode: Any) -> np.ndarray:
    """(K, J, I) bool of a segment on the volume's grid; leaves no node behind."""
    before = sceneContent()
    found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segment, volumeNode) > 0
    for nodeID in sceneContent() - before:  # displays of the label maps that it made meanwhile
        slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(nodeID))
    return found


def labelsOf(segmentationNode: Any, volumeNode: Any) -> np.ndarray:
    """(K, J, I) labels of a phantom's mask on the volume's grid: 0, 1 the ball, 2 the rod."""
    labels = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint8)
    for value, name in ((_BALL, "ball"), (_ROD, "rod")):
        labels[maskOf(segmentationNode, name, volumeNode)] = value
    return labels


def checkLabels(
    test: unittest.TestCase, shown: SceneResult, volumeNode: Any, expected: np.ndarray
) -> None:
    """Both masks lie on the structures.

    :param expected: (K, J, I) labels of the phantom.
    """
    for nodeID in (shown.coarse, shown.refined):
        node = slicer.mrmlScene.GetNodeByID(nodeID)
        labels = labelsOf(node, volumeNode)
        for value in (_BALL, _ROD):
            found, true = labels == value, expected == value
            overlap = 2 * (found & true).sum() / (found.sum() + true.sum())
            test.assertGreater(overlap, _LEAST_OVERLAP, f"{node.GetName()}, structure {value}")


def checkPlace(
    test: unittest.TestCase, shown: SceneResult, volumeNode: Any, *, onCentres: bool = True
) -> None:
    """Masks, uncertainty and points are there, on the volume's grid, under its transform.

    :param onCentres: points are voxels of the input; of an oblique one, of an upright grid.
    """
    scene, grid = slicer.mrmlScene, geometryOf(volumeNode)
    for nodeID in (shown.coarse, shown.refined):
        node = scene.GetNodeByID(nodeID)
        test.assertTrue(referenceGeometry(node).is_close(grid), node.GetName())
    start, stop = _boxOf(scene.GetNodeByID(shown.uncertainty), grid)
    part = geometryOf(scene.GetNodeByID(shown.uncertainty))
    test.assertTrue(part.is_close(grid.crop(start, stop)))
    for nodeID in (shown.coarse, shown.refined, shown.uncertainty, *shown.points):
        node = scene.GetNodeByID(nodeID)
        test.assertEqual(node.GetTransformNodeID(), volumeNode.GetTransformNodeID())
    _checkPoints(test, shown, grid, onCentres)


def _boxOf(volumeNode: Any, grid: Geometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a volume lies within a grid: start and stop, (K, J, I)."""
    part = geometryOf(volumeNode)
    first = grid.to_index(part.to_world(np.zeros((1, 3))))[0].round().astype(int)[::-1]
    return tuple(first.tolist()), tuple((first + part.shape).tolist())


def _checkPoints(
    test: unittest.TestCase, shown: SceneResult, grid: Geometry, onCentres: bool
) -> None:
    """Every point stands in a voxel that the network was unsure of."""
    scene = slicer.mrmlScene
    uncertainty = scene.GetNodeByID(shown.uncertainty)
    start, stop = _boxOf(uncertainty, grid)
    unsure = np.zeros(grid.shape, bool)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    unsure[box] = slicer.util.arrayFromVolume(uncertainty) > 0
    nodes = [scene.GetNodeByID(nodeID) for nodeID in shown.points]
    positions = np.concatenate(
        [
            slicer.util.arrayFromMarkupsControlPoints(n)
            for n in nodes
            if n.GetNumberOfControlPoints()
        ]
    )
    test.assertGreater(len(positions), 100)
    index = grid.to_index(positions)
    if onCentres:
        test.assertLess(np.abs(index - index.round()).max(), 1e-3)
    last = np.array(grid.shape[::-1]) - 1
    test.assertTrue(((index > -1) & (index < last + 1)).all(), "inside of the volume")
    i, j, k = np.clip(index.round(), 0, last).astype(int).T
    # Beside a centre the interpolated uncertainty may fall to nothing.
    test.assertGreater(unsure[k, j, i].mean(), 0.999 if onCentres else 0.8)
