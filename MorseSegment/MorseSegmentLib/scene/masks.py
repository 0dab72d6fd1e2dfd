"""The masks of a result: read into arrays as they are now, and shown in the views."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.cropping import slabs
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import referenceGeometry, segmentIDs
from MorseSegmentLib.scene.stepping import imported
from MorseSegmentLib.scene.voxels import filledBox, labelsOf

__all__ = [
    "VIEWS",
    "Box",
    "Masks",
    "boxesOf",
    "flippedView",
    "masksInSteps",
    "showView",
]

Box = tuple[slice, ...]
VIEWS = ("coarse", "both", "refined")
"""Which masks are shown."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Two label maps of the box that holds all their voxels."""

    coarse: np.ndarray
    """(K, J, I) of the box."""
    refined: np.ndarray
    start: tuple[int, int, int]
    """First voxel of the box in the whole, (K, J, I)."""
    geometry: Geometry
    """Grid of the whole."""
    boxes: dict[int, Box]
    """By label, where in the arrays either mask has voxels of it."""

    def of(self, value: int) -> tuple[np.ndarray, np.ndarray]:
        """Bool, coarse and refined: where a structure is, in a box that holds all of it."""
        box = self.boxes.get(value, (slice(0, 1),) * 3)
        return self.coarse[box] == value, self.refined[box] == value


def masksInSteps(scene: vtk.vtkObject, shown: SceneResult) -> Generator[None, None, Masks]:
    """Read the masks of a result, a few slices at a time.

    :raises MorseError: if one is gone.
    """
    yield from imported("scipy.ndimage")
    nodes = scene.GetNodeByID(shown.coarse), scene.GetNodeByID(shown.refined)
    if None in nodes:
        raise MorseError("The coarse or the refined segmentation is no longer in the scene.")
    geometry = referenceGeometry(nodes[1])
    start, stop = filledBox(nodes, geometry)
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    largest = max((*segmentIDs(nodes[0]), *segmentIDs(nodes[1])), default=0)
    kind = np.min_scalar_type(largest)
    maps = np.zeros(shape, kind), np.zeros(shape, kind)
    boxes: dict[int, Box] = {}
    for first, last in slabs(shape):
        low, high = (start[0] + first, *start[1:]), (start[0] + last, *stop[1:])
        part = geometry.crop(low, high)
        for labels, node in zip(maps, nodes, strict=True):
            labels[first:last] = labelsOf(node, part)
            boxesOf(labels[first:last], first, boxes)
            yield
    return Masks(*maps, start, geometry, boxes)


def boxesOf(labels: np.ndarray, first: int, boxes: dict[int, Box]) -> None:
    """Let the boxes grow to hold the labels of a slab that begins at slice ``first``."""
    from scipy import ndimage  # not at start: a module may cost 50 ms there

    for n, found in enumerate(ndimage.find_objects(labels)):
        if found is None:
            continue
        k, j, i = found
        here = (slice(k.start + first, k.stop + first), j, i)
        there = boxes.get(n + 1, here)
        boxes[n + 1] = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(here, there, strict=True)
        )


def showView(scene: vtk.vtkObject, shown: SceneResult, view: str) -> None:
    """Show the coarse mask, the refined one, or both; masks that are gone are skipped."""
    for nodeID, views in ((shown.coarse, ("coarse", "both")), (shown.refined, ("refined", "both"))):
        node = scene.GetNodeByID(nodeID)
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(view in views)


def flippedView(view: str) -> str:
    """What the key shows next: before and after in turn; from both, what was before."""
    return "refined" if view == "coarse" else "coarse"
