"""A rendered block written into the refined masks, with a way back.

A segmentation keeps its grid: a block from a finer one is brought to it (see ``toGrid``), because
refining the grid would resample every voxel outside of the block too, eight times as many. Who
wants the finer grid itself asks for the whole result at that resolution.
"""

from collections.abc import Mapping

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.layers import LayerEdit
from MorseSegmentLib.refine.localchanges import LocalChanges
from MorseSegmentLib.refine.pointmerge import PointMerge
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.blocks import coveredBox, toGrid, votesOf
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import referenceGeometry, segmentIDs
from MorseSegmentLib.scene.stepping import Steps

__all__ = ["LocalWriter"]


class LocalWriter:
    """Writes blocks into a result's refined masks, and their points into its list of points.

    Example::

        undo = UndoStack()
        writer = LocalWriter(scene, shown, undo)
        writer.write(block.refined, block.geometry, points=block.points)  # 118 voxels changed
        undo.undo()                                      # every voxel and point as it was

    Only segments that a model made are written; what a person added stays, voxel by voxel. Undo
    leaves what a person edited in the meantime, and says so.

    :param surfaces: makes the surfaces of changed segments anew; None: this does it, at once.
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

    def write(
        self,
        labels: np.ndarray,
        geometry: Geometry,
        title: str = "Re-rendered box",
        *,
        points: RenderedPoints | None = None,
    ) -> int:
        """Write labels into the voxels that lie wholly inside the block; how many changed.

        :param labels: (K, J, I) on ``geometry``, in the RAS of the segmented volume.
        :param title: for the undo button.
        :param points: those rendered for the block; they take the place of the points inside it.
        :raises MorseError: if the segmentation is gone.
        :raises GeometryError: if the block does not fit; nothing is written.
        """
        return finished(self.writeInSteps(labels, geometry, title, points=points))

    def writeInSteps(
        self,
        labels: np.ndarray,
        geometry: Geometry,
        title: str = "Re-rendered box",
        *,
        points: RenderedPoints | None = None,
    ) -> Steps[int]:
        """As :meth:`write`, in short pieces; the scene is changed in the last one, all at once."""
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

    def _takeBack(self, grid: Geometry, changes: LocalChanges) -> Steps[int]:
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
    changes: LocalChanges,
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
        sentences.append(f"{kept} voxels that were edited since stay as they were edited.")
    if lost:
        sentences.append(f"The review of {lost} of its points went with it.")
    return " ".join(sentences)
