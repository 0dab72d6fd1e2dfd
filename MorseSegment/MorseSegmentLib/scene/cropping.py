"""What of a result goes into the scene: the boxes that hold something, of the structures wanted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from MorseCore.result import RenderedPoints, Segmentation
from MorseSegmentLib.scene.segments import boundingBox
from MorseSegmentLib.scene.stepping import Steps

__all__ = ["Piece", "cropInSteps", "keepPoints", "slabs"]

_SLAB = 1 << 19  # voxels looked at in one step, some milliseconds


@dataclass(frozen=True, eq=False)
class Piece:
    """A box of a map."""

    values: np.ndarray
    """(K, J, I) of the box."""
    start: tuple[int, int, int]
    """First voxel of the box in the whole, (K, J, I)."""


def cropInSteps(result: Segmentation) -> Steps[dict[str, Piece]]:
    """The maps ``coarse``, ``refined`` and ``uncertainty`` of a result, without empty surroundings.

    A voxel of a value that ``result.structures`` does not list becomes background.
    """
    pieces = {}
    for name in ("coarse", "refined", "uncertainty"):
        array = getattr(result, name)
        table = None
        if name != "uncertainty":
            table = np.zeros(np.iinfo(array.dtype).max + 1, array.dtype)
            values = [structure.value for structure in result.structures]
            table[values] = values
        pieces[name] = yield from _croppedInSteps(array, table)
    return pieces


def _croppedInSteps(array: np.ndarray, table: np.ndarray | None) -> Steps[Piece]:
    """The box of what is not 0; labels are looked up in ``table``."""
    low, high = np.array(array.shape), np.zeros(3, int)
    for first, last in slabs(array.shape):
        slab = array[first:last]
        found = (slab if table is None else table[slab]) > 0
        if found.any():
            box = boundingBox(found)
            low = np.minimum(low, [box[0].start + first, box[1].start, box[2].start])
            high = np.maximum(high, [box[0].stop + first, box[1].stop, box[2].stop])
        yield
    low = np.minimum(low, np.array(array.shape) - 1)  # one voxel, if there is none
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, np.maximum(high, low + 1), strict=True))
    part = array[k, j, i]
    values = np.empty(part.shape, array.dtype)
    for first, last in slabs(part.shape):
        slab = part[first:last]
        values[first:last] = slab if table is None else table[slab]
        yield
    return Piece(values, (k.start, j.start, i.start))


def keepPoints(points: RenderedPoints, values: Iterable[int]) -> RenderedPoints:
    """The points without other structures than these: their labels become background.

    A point that has only to do with others is left out.
    """
    known = np.array([0, *values])
    before, after = (np.isin(x, known) for x in (points.coarse_label, points.refined_label))
    kept = replace(
        points,
        coarse_label=np.where(before, points.coarse_label, 0),
        refined_label=np.where(after, points.refined_label, 0),
    )
    ours = (before & after) | (kept.coarse_label > 0) | (kept.refined_label > 0)
    return kept.take(np.flatnonzero(ours))


def slabs(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last slice (excluded) of pieces that take some ten milliseconds to look at."""
    thickness = max(1, _SLAB // max(1, shape[1] * shape[2]))
    for first in range(0, shape[0], thickness):
        yield first, min(first + thickness, shape[0])
