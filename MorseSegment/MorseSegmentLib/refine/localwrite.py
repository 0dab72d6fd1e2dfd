"""Writes a rendered block into the refined masks, with undo.

A segmentation keeps its grid: a block from a finer one is brought to it (see ``toGrid``), because
a finer grid would resample every voxel outside of the block too, eight times as many. To get the
finer grid itself, render the whole result at that resolution.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints
from MorseSegmentLib.refine.layers import LayerEdit
from MorseSegmentLib.refine.pointmerge import PointMerge
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.blocks import coveredBox, toGrid, votesOf
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import boundingBox, referenceGeometry, segmentIDs
from MorseSegmentLib.scene.stepping import Steps
from MorseSegmentLib.scene.voxels import Slices

__all__ = ["LocalWriter"]

_Index = tuple[int, int, int]
_Masks = Mapping[str, np.ndarray]


class LocalWriter:
    """Writes blocks into a result's refined masks, and their points into its list of points.

    Example::

        undo = UndoStack()
        writer = LocalWriter(scene, shown, undo)
        finished(writer.writeInSteps(block.refined, block.geometry, points=block.points))  # 118
        undo.undo()                                      # every voxel and point as it was

    Only segments that a model made are written. What a person added stays, voxel by voxel. Undo
    keeps what a person edited in the meantime, and says so.

    :param surfaces: updates the surfaces of changed segments; None: this class does it, at once.
    """

    def __init__(
        self,
        scene: vtk.vtkObject,
        shown: SceneResult,
        undo: UndoStack,
        surfaces: SurfaceQueue | None = None,
    ) -> None:
        self._scene, self._shown, self._undo = scene, shown, undo
        self._surfaces = surfaces if surfaces is not None else SurfaceQueue(scene, later=None)

    def writeInSteps(
        self,
        labels: np.ndarray,
        geometry: Geometry,
        title: str = "Re-rendered box",
        *,
        points: RenderedPoints | None = None,
    ) -> Steps[int]:
        """Write labels into the voxels that lie wholly inside the block; how many changed.

        The scene changes in the last step only, all at once.

        :param labels: (K, J, I) on ``geometry``, in the RAS of the segmented volume.
        :param title: for the undo button.
        :param points: those rendered for the block; they take the place of the points inside it.
        :raises MorseError: if the segmentation is gone.
        :raises GeometryError: if the block does not fit; nothing is written.
        """
        node = self._node()
        grid = referenceGeometry(node)
        start, stop = coveredBox(geometry, grid)
        ids = segmentIDs(node)
        edit = LayerEdit(node, grid, start, stop, ids.values())
        changes = LocalChanges()
        for rows in edit.slabs(looks=votesOf(geometry, grid)):
            first = (start[0] + rows.start, *start[1:])
            last = (start[0] + rows.stop, *stop[1:])
            found = toGrid(labels, geometry, grid.crop(first, last)).labels
            _prepare(edit, changes, ids, rows=rows, start=first, labels=found)
            yield
        if not changes.count and points is None:
            return 0
        merge = None
        if points is not None:
            merge = PointMerge(self._scene, self._shown, points, geometry)
            yield
        if changes.count:
            edit.commit()
            self._surfaces.add(node, edit.changed)
        if merge is not None:
            merge.do()

        def back() -> Steps[TakenBack]:
            kept = yield from self._takeBack(grid, changes)
            return TakenBack(note=_note(kept, 0 if merge is None else merge.takeBack()))

        self._undo.push(title, back)
        return changes.count

    def _node(self) -> vtk.vtkObject:
        node = self._scene.GetNodeByID(self._shown.refined)
        if node is None:
            raise MorseError("The refined segmentation is no longer in the scene.")
        return node

    def _takeBack(self, grid: Geometry, changes: "LocalChanges") -> Steps[int]:
        """Set the voxels to what they were; how many stay because a person edited them since."""
        node, kept = self._node(), 0
        if not changes.count:
            return 0
        start, stop = changes.bounds
        edit = LayerEdit(node, grid, start, stop, changes.segmentIDs)
        for piece in changes.pieces:
            box = piece.within(start)
            now = edit.masks(box)
            target, edited = piece.before(now)
            edit.setMasks(box, target)
            kept += edited
            yield
        edit.commit()
        self._surfaces.add(node, edit.changed)
        return kept


def _prepare(
    edit: LayerEdit,
    changes: "LocalChanges",
    ids: Mapping[int, str],
    *,
    rows: slice,
    start: tuple[int, int, int],
    labels: np.ndarray,
) -> None:
    """Put labels (K, J, I) into some rows of an edit, and note what that changes."""
    box = (rows, slice(None), slice(None))
    before = edit.masks(box)
    after = {key: labels == value for value, key in ids.items() if key in before}
    edit.setMasks(box, after)
    changes.add(start, before, after)


def _note(kept: int, lost: int) -> str:
    sentences = []
    if kept:
        sentences.append(f"Voxels that were edited since and keep their edit: {kept}.")
    if lost:
        sentences.append(f"New points whose review is gone: {lost}.")
    return " ".join(sentences)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Segments that are different inside a box, before and after; masks are (K, J, I) bool."""

    start: _Index
    former: _Masks
    written: _Masks

    @property
    def stop(self) -> _Index:
        k, j, i = (a + n for a, n in zip(self.start, self._any.shape, strict=True))
        return k, j, i

    @property
    def _any(self) -> np.ndarray:
        return next(iter(self.former.values()))

    def within(self, start: _Index) -> Slices:
        """The piece's place in a larger box that begins at ``start``."""
        return tuple(
            slice(a - b, a - b + n)
            for a, b, n in zip(self.start, start, self._any.shape, strict=True)
        )

    def before(self, now: _Masks) -> tuple[dict[str, np.ndarray], int]:
        """Masks with every voxel that still is as written as it was, and how many are not.

        :param now: the segments' masks as they are; those that are gone are left out.
        """
        edited = np.zeros(self._any.shape, bool)
        ours = np.zeros(self._any.shape, bool)
        for key, mask in self.written.items():
            edited |= mask if key not in now else now[key] != mask
            ours |= self.former[key] != mask
        former = {
            key: np.where(edited, now[key], mask) for key, mask in self.former.items() if key in now
        }
        return former, int((edited & ours).sum())


class LocalChanges:
    """Boxes with what was in them, collected while a block is gone through."""

    def __init__(self) -> None:
        self.count = 0
        """Voxels that were changed."""
        self.pieces: list[_Piece] = []

    def add(self, start: _Index, before: _Masks, after: _Masks) -> None:
        """Keep what differs between masks of the same box, which begins at ``start``."""
        keys = [key for key, mask in after.items() if (mask != before[key]).any()]
        if not keys:
            return
        different = np.zeros(after[keys[0]].shape, bool)
        for key in keys:
            different |= after[key] != before[key]
        self.count += int(different.sum())
        box = boundingBox(different)
        k, j, i = (a + part.start for a, part in zip(start, box, strict=True))
        # Copies, as views would keep the whole masks.
        former = {key: before[key][box].copy() for key in keys}
        written = {key: after[key][box].copy() for key in keys}
        self.pieces.append(_Piece((k, j, i), former, written))

    @property
    def segmentIDs(self) -> Iterable[str]:
        """Of all segments that were changed."""
        return dict.fromkeys(key for piece in self.pieces for key in piece.former)

    @property
    def bounds(self) -> tuple[_Index, _Index]:
        """The box that holds all pieces: start and stop, (K, J, I)."""
        k0, j0, i0 = np.min([piece.start for piece in self.pieces], axis=0).tolist()
        k1, j1, i1 = np.max([piece.stop for piece in self.pieces], axis=0).tolist()
        return (k0, j0, i0), (k1, j1, i1)
