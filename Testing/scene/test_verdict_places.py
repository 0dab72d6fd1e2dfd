"""Where the reasons of a verdict lie, in a real scene."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.quality.thresholds import SIGNALS
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.steps import finished
from MorseSegmentLib.scene.groups import withoutGroups
from MorseSegmentLib.scene.places import findPlaceInSteps, hasPlace
from MorseSegmentLib.scene.record import SceneResult, readRecord
from MorseSegmentLib.scene.result import SceneWriter

SHAPE = (12, 20, 24)
SPACING = np.array([1.0, 2.0, 3.0])
OFFSET = 100.0  # mm, by a transform


def reason(signal: str, structure: str = "Left head") -> dict[str, Any]:
    return {"signal": signal, "structure": structure, "words": "Odd."}


@pytest.fixture
def a_result() -> Segmentation:
    """Left: a hollow block with a piece apart. Right: a smaller block at the image's face."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:9, 2:9, 2:9] = 1
    labels[5, 5, 5] = 0
    labels[10, 16:18, 20:22] = 1
    labels[11, 18, 22] = 1
    labels[3:6, 12:16, 0:4] = 2
    labels[4:6, 12:14, 12:14] = 3
    ijk = np.array([[12, 12, 4], [3, 4, 5], [2, 2, 2]], np.int32)
    values = np.array([3, 1, 1], np.int32)
    shares = np.array([0.9, 0.8, 0.7], np.float32)
    geometry = Geometry(SHAPE, np.diag([*SPACING, 1.0]))
    points = RenderedPoints(
        geometry.to_world(ijk.astype(float)), ijk, shares, 0 * values, values, shares, shares
    )
    structures = (
        Structure(1, "Left head", (1, 0, 0), side="left"),
        Structure(2, "Right head", (0, 1, 0), side="right"),
        Structure(3, "Left tail", (0, 0, 1), side="left"),
        Structure(4, "Right tail", (1, 1, 0), side="right"),
    )
    ml = {1: 2.2, 2: 0.3, 3: 0.05, 4: 0.0}
    report = {
        "structures": [
            {"value": s.value, "name": s.name, "coarse_ml": 0.0, "refined_ml": ml[s.value]}
            for s in structures
        ],
        "parameters": {"roi": None},
        "input": {"shape_kji": list(SHAPE)},
    }
    return Segmentation(
        geometry, structures, labels, labels, np.zeros(SHAPE, np.float32), points, report
    )


def show(scene: Any, result: Segmentation) -> SceneResult:
    """The result under a transform, as a person may have moved the scan."""
    shown = SceneWriter(scene).show(result)
    matrix = np.eye(4)
    matrix[:3, 3] = OFFSET
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for node_id in (shown.coarse, shown.refined):
        scene.GetNodeByID(node_id).SetAndObserveTransformNodeID(transform.GetID())
    return shown


def find(scene: Any, shown: SceneResult, of: Mapping[str, Any]) -> np.ndarray | None:
    return finished(findPlaceInSteps(scene, shown, of))


def voxel(scene: Any, shown: SceneResult, of: Mapping[str, Any]) -> tuple[int, ...]:
    """Where a reason lies, (k, j, i)."""
    place = find(scene, shown, of)
    assert place is not None
    return tuple(((place - OFFSET) / SPACING)[::-1].round().astype(int).tolist())


def test_a_structure_lies_where_it_has_a_voxel(a_scene: Any, a_result: Segmentation) -> None:
    shown = show(a_scene, a_result)
    for n, structure in enumerate(a_result.structures[:3]):
        assert a_result.refined[voxel(a_scene, shown, reason("volume", structure.name))] == n + 1
    assert a_result.refined[voxel(a_scene, shown, reason("volume", ""))] == 1, "the largest"
    assert a_result.refined[voxel(a_scene, shown, reason("volume", "the right side"))] == 2


def test_pieces_and_holes_lie_beside_the_structure_s_middle(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown = show(a_scene, a_result)
    k, j, i = voxel(a_scene, shown, reason("stray"))
    assert k == 10
    assert j in (16, 17)
    assert i in (20, 21)
    assert voxel(a_scene, shown, reason("holes")) == (5, 5, 5)
    assert find(a_scene, shown, reason("stray", "Right head")) is None
    assert find(a_scene, shown, reason("holes", "Right head")) is None


def test_another_structure_is_no_hole(a_scene: Any, a_result: Segmentation) -> None:
    a_result.refined[5, 5, 5] = 3
    assert find(a_scene, show(a_scene, a_result), reason("holes")) is None


def test_contact_lies_on_the_face_of_the_image(a_scene: Any, a_result: Segmentation) -> None:
    shown = show(a_scene, a_result)
    found = voxel(a_scene, shown, reason("contact", "Right head"))
    assert found[2] == 0
    assert a_result.refined[found] == 2
    assert find(a_scene, shown, reason("contact", "Left tail")) is None


IN_VOXELS = {"lower": [0, 0, 4], "upper": [24, 20, 10], "frame": "ijk"}
IN_MM = {"lower": [-0.5, -1.0, 10.5], "upper": [23.5, 39.0, 28.5], "frame": "ras"}
OF_COARSER_VOXELS = {"lower": [0, 0, 2], "upper": [12, 10, 5], "frame": "ijk"}


@pytest.mark.parametrize(
    ("roi", "scale"),
    [
        (IN_VOXELS, 1),
        (IN_MM, 1),
        ({"left": IN_VOXELS, "right": None}, 1),
        (OF_COARSER_VOXELS, 2),
        (IN_MM, 2),
    ],
    ids=["voxels", "mm", "of each side", "voxels of the scan", "mm in a finer result"],
)
def test_contact_lies_on_the_face_of_the_region(
    a_scene: Any, a_result: Segmentation, roi: dict[str, Any], scale: int
) -> None:
    report = {
        **a_result.report,
        "parameters": {"roi": roi},
        "input": {"shape_kji": [n // scale for n in SHAPE]},
    }
    shown = show(a_scene, replace(a_result, report=report))
    found = voxel(a_scene, shown, reason("contact"))
    assert found[0] == 4
    assert a_result.refined[found] == 1


@pytest.mark.parametrize("signal", ["agreement", "stability", "attention"])
def test_doubt_lies_at_the_most_uncertain_point(
    a_scene: Any, a_result: Segmentation, signal: str
) -> None:
    shown = show(a_scene, a_result)
    assert voxel(a_scene, shown, reason(signal)) == (5, 4, 3)
    assert voxel(a_scene, shown, reason(signal, "the left side")) == (4, 12, 12)
    assert voxel(a_scene, shown, reason(signal, "")) == (4, 12, 12)
    assert a_result.refined[voxel(a_scene, shown, reason(signal, "Right head"))] == 2, (
        "no point of it was rendered"
    )


def test_asymmetry_lies_on_the_smaller_side(a_scene: Any, a_result: Segmentation) -> None:
    shown = show(a_scene, a_result)
    for name in ("Head", "total"):
        assert a_result.refined[voxel(a_scene, shown, reason("asymmetry", name))] == 2


def test_what_is_no_place_has_none(a_scene: Any, a_result: Segmentation) -> None:
    record = readRecord(a_scene, show(a_scene, a_result))
    placed = {signal for signal in SIGNALS if hasPlace(record, reason(signal))}
    assert placed == set(SIGNALS) - {"thickness"}
    for signal in ("thickness", "empty", "modality", "size", "side"):
        assert not hasPlace(record, reason(signal, ""))
    assert not hasPlace(record, reason("volume", "Right tail")), "it has no voxel"
    assert not hasPlace(record, reason("volume", "Liver"))


def test_a_structure_that_was_not_imported_has_no_place(
    a_scene: Any, a_result: Segmentation
) -> None:
    record = readRecord(a_scene, show(a_scene, withoutGroups(a_result, ["others"])))
    assert not hasPlace(record, reason("volume"))


def test_a_mask_that_a_person_removed_is_said(a_scene: Any, a_result: Segmentation) -> None:
    shown = show(a_scene, a_result)
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.refined))
    with pytest.raises(MorseError, match="no longer in the scene"):
        find(a_scene, shown, reason("holes"))
