"""Both masks of a result as arrays, as they are in the scene now: edited or not."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.system.steps import finished
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import referenceGeometry, segmentIDs
from MorseSegmentLib.scene.stepping import imported
from MorseSegmentLib.scene.voxels import filledBox, labelsOf

__all__ = ["MaskWatch", "Masks", "boxesOf", "masksInSteps", "masksOf", "slabs"]

_SLAB = 1 << 20  # voxels read in one step, some ten milliseconds
Box = tuple[slice, ...]


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


def masksOf(scene: vtk.vtkObject, shown: SceneResult) -> Masks:
    """The masks of a result.

    :raises MorseError: if one is gone.
    """
    return finished(masksInSteps(scene, shown))


def masksInSteps(scene: vtk.vtkObject, shown: SceneResult) -> Generator[None, None, Masks]:
    """:func:`masksOf`, which it returns, a few slices at a time."""
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


def slabs(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last slice (excluded) of pieces that take some ten milliseconds to look at."""
    thickness = max(1, _SLAB // max(1, shape[1] * shape[2]))
    for first in range(0, shape[0], thickness):
        yield first, min(first + thickness, shape[0])


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


class MaskWatch:
    """Hears of every change of a result's masks, by whatever tool. No Qt.

    Example::

        watch = MaskWatch(scene, panel.onMasks)
        watch.look(shown)       # None: at nothing
        watch.stamp()           # differs if a voxel may differ
        watch.look(None)
    """

    def __init__(self, scene: vtk.vtkObject, onChange: Callable[[], None]) -> None:
        self._scene, self._onChange = scene, onChange
        self._nodes: list[vtk.vtkObject] = []
        self._observed: list[tuple[vtk.vtkObject, int]] = []

    def look(self, shown: SceneResult | None) -> None:
        """Observe the masks of this result, and no longer those of the former."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed, self._nodes = [], []
        ids = () if shown is None else (shown.coarse, shown.refined)
        for node in filter(None, map(self._scene.GetNodeByID, ids)):
            self._nodes.append(node)
            kind = slicer.vtkSegmentation
            # A sequence browser exchanges all segments at once: that is only a modified node.
            events = (vtk.vtkCommand.ModifiedEvent, kind.SourceRepresentationModified)
            for event in (*events, kind.SegmentAdded, kind.SegmentRemoved):
                self._observed.append((node, node.AddObserver(event, self._onEvent)))

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Segments with the age of their voxels."""
        found = []
        for node in self._nodes:
            for value, segmentID in segmentIDs(node).items():
                image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
                found.append((node.GetID(), value, 0 if image is None else image.GetMTime()))
        return tuple(found)

    def _onEvent(self, *_event: object) -> None:
        self._onChange()
