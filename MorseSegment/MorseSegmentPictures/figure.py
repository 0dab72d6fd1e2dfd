"""Pictures of a result as Slicer draws it: three slices and the surface with its points."""

from contextlib import closing
from pathlib import Path

import numpy as np
import vtk

from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseSegmentLib.scene.bundle import addVolume
from MorseSegmentLib.scene.nodes import NodeLedger, removeNodes
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentPictures.bootstrap import startSlicer
from MorseSegmentPictures.views import SliceView, ThreeDView

__all__ = ["renderScenePictures"]

_WHITE, _DARK = (1.0, 1.0, 1.0), (0.25, 0.25, 0.25)
_SMALLEST_VIEW = 24  # voxels; closer up, a slice shows squares instead of a shape
_EDGES = {"Axial": "R left, A top", "Coronal": "R left, S top", "Sagittal": "A left, S top"}
_LEGEND = (
    "outline: coarse   fill: refined   edges: {}\n"
    "dots: rendered points, uncertain from 0.2 (orange) to 1 (magenta)"
)


def renderScenePictures(
    volume: np.ndarray,
    result: Segmentation,
    outputDir: Path,
    *,
    geometry: Geometry | None = None,
) -> list[Path]:
    """Write axial.png, coronal.png, sagittal.png and surface.png; returns their paths.

    Each slice is the one in which rendering changed the most voxels, zoomed on the masks.

    :param volume: (K, J, I) image.
    :param geometry: the image's grid; the result's own if None.
    """
    scene = startSlicer()
    writer = SceneWriter(scene)
    outputDir.mkdir(parents=True, exist_ok=True)
    volumeNode = _addVolume(scene, volume, geometry or result.geometry, result)
    shown = writer.show(result, volumeNode)
    try:
        paths = [
            _saveSlice(orientation, volumeNode, result, outputDir)
            for orientation in ("Axial", "Coronal", "Sagittal")
        ]
        writer.createSurface(scene.GetNodeByID(shown.refined))
        paths.append(_saveSurface(outputDir))
    finally:
        writer.remove(shown)
        removeNodes(scene, [volumeNode.GetID()])
    return paths


def _saveSlice(
    orientation: str, volumeNode: vtk.vtkObject, result: Segmentation, outputDir: Path
) -> Path:
    with closing(SliceView(orientation, orientation=orientation)) as view:
        _pointAt(view, volumeNode, result)
        view.node.SetRulerType(view.node.RulerTypeThin)
        view.annotate(_LEGEND.format(_EDGES[orientation]), color=_WHITE)
        return view.save(outputDir / f"{orientation.lower()}.png")


def _saveSurface(outputDir: Path) -> Path:
    with closing(ThreeDView("1")) as view:
        view.node.SetBackgroundColor(*_WHITE)
        view.node.SetBackgroundColor2(*_WHITE)
        view.fit(azimuth=30.0, elevation=20.0, zoom=1.2)
        view.annotate("refined surface\nrendered points, uncertain from 0.6", color=_DARK)
        return view.save(outputDir / "surface.png")


def _addVolume(
    scene: vtk.vtkObject, volume: np.ndarray, geometry: Geometry, result: Segmentation
) -> vtk.vtkObject:
    """The image as a volume node, its grey levels spread over what surrounds the masks."""
    node = addVolume(NodeLedger(scene), "Image", volume, geometry)
    corners = geometry.to_index(_corners(result))[:, ::-1]
    start = np.clip(corners.min(axis=0).astype(int) - 5, 0, volume.shape)
    stop = np.clip(corners.max(axis=0).astype(int) + 6, 0, volume.shape)
    around = volume[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    low, high = np.percentile(around if around.size else volume, [0.5, 99.5])
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(float(low), float(max(high, low + 1e-6)))
    return node


def _pointAt(view: SliceView, volumeNode: vtk.vtkObject, result: Segmentation) -> None:
    view.showVolume(volumeNode)
    axis = int(np.argmax(np.abs(view.normal() @ result.geometry.direction)))  # of (i, j, k)
    number = _mostChangedSlice(result, 2 - axis)
    corners = _corners(result, axis=2 - axis, number=number)
    smallest = _SMALLEST_VIEW * max(result.geometry.spacing)
    view.frame(corners, through=corners.mean(axis=0), margin=1.3, smallest=smallest)


def _mostChangedSlice(result: Segmentation, axis: int) -> int:
    """Index along an array axis (K, J, I); the largest refined area if nothing changed."""
    others = tuple(n for n in range(3) if n != axis)
    changed = (result.coarse != result.refined).sum(axis=others)
    if not changed.any():
        changed = (result.refined > 0).sum(axis=others)
    return int(changed.argmax()) if changed.any() else len(changed) // 2


def _corners(result: Segmentation, *, axis: int = 0, number: int | None = None) -> np.ndarray:
    """(8, 3) RAS mm of the box around both masks, or around what one slice shows of them.

    :param axis: array axis (K, J, I) that ``number`` counts along.
    """
    masks = (result.coarse > 0) | (result.refined > 0)
    low, high = np.zeros(3, int), np.array(masks.shape) - 1
    if number is not None:
        low[axis] = high[axis] = number
    inside = masks[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]
    used = np.argwhere(inside)
    if len(used):  # else the whole grid
        low, high = low + used.min(axis=0), low + used.max(axis=0)
    ends = np.stack([low, high])[:, ::-1]  # (2, 3) in order (i, j, k)
    picks = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
    return result.geometry.to_world(ends[picks, np.arange(3)].astype(float))
