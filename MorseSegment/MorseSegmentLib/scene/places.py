"""Where in the scene a reason of a verdict lies. No Qt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vtk

from MorseCore.geometry import Geometry
from MorseCore.result import Structure
from MorseSegmentLib.scene.geometry import toWorld
from MorseSegmentLib.scene.masks import Masks, masksInSteps
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import ResultRecord, SceneResult, readRecord
from MorseSegmentLib.scene.stepping import Steps, inThread
from MorseSegmentLib.scene.views import middleOf
from MorseSegmentLib.scene.voxels import middleVoxel

__all__ = ["findPlaceInSteps", "hasPlace"]

_OF_POINTS = ("agreement", "stability", "attention")
_OF_VOXELS = ("stray", "holes", "contact")
_OF_STRUCTURES = ("volume", "asymmetry")


def hasPlace(record: ResultRecord, reason: Mapping[str, Any]) -> bool:
    """Whether a reason is about something that has a place; cheap, as only the record is read."""
    placed = (*_OF_POINTS, *_OF_VOXELS, *_OF_STRUCTURES)
    return reason["signal"] in placed and bool(_concerned(record, reason))


def findPlaceInSteps(
    scene: vtk.vtkObject, shown: SceneResult, reason: Mapping[str, Any]
) -> Steps[np.ndarray | None]:
    """Where a reason lies now, (3,) world RAS mm; None if it was removed or edited away.

    Disagreement and uncertainty lie at the most uncertain of the rendered points; in the structure
    where none was rendered.

    :param reason: of the report's verdict, one that :func:`hasPlace`.
    :raises MorseError: if the record, a mask or the point table is gone.
    """
    record = readRecord(scene, shown)
    concerned, signal = _concerned(record, reason), reason["signal"]
    if signal in _OF_VOXELS:
        masks = yield from masksInSteps(scene, shown)
        index = yield from inThread(lambda: _inMask(masks, record.report, concerned[0], signal))
        if index is None:
            return None
        place = masks.geometry.to_world(np.array([index[::-1]], np.float64))
        return toWorld(scene.GetNodeByID(shown.refined), place)[0]
    if signal in _OF_POINTS:
        point = _mostUncertain(scene, shown, [structure.value for structure in concerned])
        if point is not None:
            return point
    middles = (middleOf(scene, shown, structure.value) for structure in concerned)
    return next((place for place in middles if place is not None), None)


def _concerned(record: ResultRecord, reason: Mapping[str, Any]) -> list[Structure]:
    """The structures with voxels that a reason is about: the largest first, or the smaller side."""
    name, rows = reason["structure"].casefold(), record.report["structures"]
    ml = {row["value"]: max(row["coarse_ml"], row["refined_ml"]) for row in rows}
    about = [s for s in record.structures if ml.get(s.value) and name in _names(s)]
    sides = Counter[str]()
    if reason["signal"] == "asymmetry":
        for structure in about:
            sides[structure.side] += ml[structure.value]
    return sorted(about, key=lambda s: (sides[s.side], -ml[s.value]))


def _names(structure: Structure) -> set[str]:
    """What the verdict may call a structure, or a whole to which it belongs."""
    own, side = structure.name.casefold(), structure.side
    names = {"", own}
    return names | {own.removeprefix(f"{side} "), f"the {side} side", "total"} if side else names


def _mostUncertain(
    scene: vtk.vtkObject, shown: SceneResult, values: Sequence[int]
) -> np.ndarray | None:
    points = PointTable.read(scene.GetNodeByID(shown.pointTable)).points
    chosen = np.isin(points.coarse_label, values) | np.isin(points.refined_label, values)
    node = scene.GetNodeByID(shown.refined)
    if node is None or not chosen.any():
        return None
    return toWorld(node, points.positions[chosen.argmax()])[0]  # they are sorted


def _inMask(
    masks: Masks, report: Mapping[str, Any], structure: Structure, signal: str
) -> np.ndarray | None:
    """A voxel (K, J, I) where a structure is cut, has a hole or a piece apart: in the largest."""
    box = masks.boxes.get(structure.value)
    if box is None:
        return None
    labels, start = masks.refined[box], np.add(masks.start, [side.start for side in box])
    mask = labels == structure.value
    if signal == "contact":
        part = _cut(
            mask, *(end - start for end in _segmentedBox(report, structure.side, masks.geometry))
        )
    elif signal == "stray":
        part = _largestPiece(mask, rank=1)
    else:
        part = _largestPiece(_holes(mask, labels))
    voxel = None if part is None else middleVoxel(part)
    return None if voxel is None else start + voxel


def _holes(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Bool: background that the structure encloses.

    Not SciPy's ``binary_fill_holes``, which keeps Python's lock: the window stood still for 0.4 s.
    """
    from scipy import ndimage  # not at start: a module may cost 50 ms there

    pieces, count = ndimage.label(~mask)
    isInside = np.arange(count + 1) > 0
    for axis in range(3):
        for face in (0, -1):
            isInside[np.unique(pieces.take(face, axis))] = False
    found: np.ndarray = isInside[pieces] & (labels == 0)
    return found


def _largestPiece(mask: np.ndarray, *, rank: int = 0) -> np.ndarray | None:
    """Bool: the largest piece (26 neighbours); of ``rank`` 1, the one after it."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count <= rank:
        return None
    order = np.argsort(-np.bincount(pieces.ravel())[1:], kind="stable")
    found: np.ndarray = pieces == order[rank] + 1
    return found


def _cut(mask: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Bool: the voxels on the face of a box that cuts most of them.

    :param start: first voxel of the box, (K, J, I); ``stop``: the one after its last. Both may lie
        beyond the mask.
    """
    faces = [
        (*[slice(None)] * axis, slice(place, place + 1))
        for axis in range(3)
        if stop[axis] - start[axis] > 1  # a single slice is no cut
        for place in (start[axis], stop[axis] - 1)
        if 0 <= place < mask.shape[axis]
    ]
    cut = np.zeros_like(mask)
    if faces:
        here = max(faces, key=lambda face: np.count_nonzero(mask[face]))
        cut[here] = mask[here]
    return cut


def _segmentedBox(
    report: Mapping[str, Any], side: str, grid: Geometry
) -> tuple[Sequence[int], Sequence[int]]:
    """First voxel of what was segmented, and the one after its last, (K, J, I) of the result."""
    from MorseCore.images.roi import Roi, roi_to_box

    roi = report["parameters"]["roi"]
    if roi is not None and "frame" not in roi:
        roi = roi.get(side)  # each side has its own
    if roi is None:
        return (0, 0, 0), grid.shape
    finer = np.divide(grid.shape, report["input"]["shape_kji"])[::-1]
    step = finer if roi["frame"] == "ijk" else np.ones(3)
    lower, upper = (tuple((step * roi[end]).tolist()) for end in ("lower", "upper"))
    return roi_to_box(Roi(lower, upper, roi["frame"]), grid)
