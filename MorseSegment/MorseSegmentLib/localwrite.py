"""A rendered block written into the refined masks, with a way back.

A segmentation keeps its grid: a block from a finer one is brought to it (see ``toGrid``), because
refining the grid would resample every voxel outside of the block too, eight times as many. Who
wants the finer grid itself asks for the whole result at that resolution.
"""

import numpy as np
import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseSegmentLib.blocks import Block, maskImage, toGrid
from MorseSegmentLib.record import SceneResult
from MorseSegmentLib.segments import referenceGeometry, segmentIDs
from MorseSegmentLib.undo import UndoStack
from MorseSegmentLib.voxels import maskOf

__all__ = ["LocalWriter"]

# MERGE_MAX, often used to grow, compares label values: in a shared image it writes the value 1
# whatever the segment's own is. MERGE_MASK writes the segment's value; both leave out what lies
# outside of the extent, which MODE_REPLACE erases.
_MIN = slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MIN
_MASK = slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MASK
_SURFACE = "Closed surface"  # vtkSegmentationConverter's name of the representation


class LocalWriter:
    """Writes blocks into a result's refined masks.

    Example::

        undo = UndoStack()
        writer = LocalWriter(scene, shown, undo)
        writer.write(block.refined, block.geometry)      # 118, number of voxels that changed
        undo.undo()                                      # every voxel as it was

    Only segments that a model made are written; what a person added stays, voxel by voxel. Undo
    brings back the block as it was before writing, also what was edited in it afterwards.
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult, undo: UndoStack) -> None:
        self._scene, self._shown, self._undo = scene, shown, undo

    def write(self, labels: np.ndarray, geometry: Geometry, title: str = "Re-rendered box") -> int:
        """Write labels into the voxels that lie wholly inside the block; how many changed.

        :param labels: (K, J, I) on ``geometry``, in the RAS of the segmented volume.
        :param title: for the undo button.
        :raises MorseError: if the segmentation is gone.
        :raises GeometryError: if the block does not fit; nothing is written.
        """
        node = self._node()
        grid = referenceGeometry(node)
        block = toGrid(labels, geometry, grid)
        wanted = {segmentID: block.labels == value for value, segmentID in segmentIDs(node).items()}
        part = grid.crop(block.start, block.stop)
        before = {segmentID: maskOf(node, segmentID, part) for segmentID in wanted}
        changed = [key for key in wanted if not np.array_equal(wanted[key], before[key])]
        if not changed:
            return 0
        different = np.zeros(block.labels.shape, bool)
        for key in changed:
            different |= wanted[key] != before[key]
        self._replace(node, block, grid, {key: wanted[key] for key in changed})
        old = {key: before[key] for key in changed}
        self._undo.push(title, lambda: self._replace(self._node(), block, grid, old))
        return int(different.sum())

    def _node(self) -> vtk.vtkObject:
        node = self._scene.GetNodeByID(self._shown.refined)
        if node is None:
            raise MorseError("The refined segmentation is no longer in the scene.")
        return node

    @staticmethod
    def _replace(
        node: vtk.vtkObject, block: Block, grid: Geometry, masks: dict[str, np.ndarray]
    ) -> None:
        """Set segments inside a block to masks; their surfaces, if there, are made anew once."""
        segmentation, part = node.GetSegmentation(), grid.crop(block.start, block.stop)
        masks = {key: mask for key, mask in masks.items() if segmentation.GetSegment(key)}
        hadSurface = segmentation.ContainsRepresentation(_SURFACE)
        if hadSurface:  # else every write would make its segment's surface again
            for key in masks:
                segmentation.GetSegment(key).RemoveRepresentation(_SURFACE)
        wasModifying = node.StartModify()
        try:
            # First all that shrink, then all that grow: so no two ever overlap, and segments that
            # share an image (a layer) go on sharing it.
            for key, mask in masks.items():
                kept = mask & maskOf(node, key, part)
                _merge(node, key, maskImage(kept, block, grid), block, _MIN)
            for key, mask in masks.items():
                _merge(node, key, maskImage(mask, block, grid), block, _MASK)
        finally:
            node.EndModify(wasModifying)
            if hadSurface:
                segmentation.CreateRepresentation(_SURFACE, False)  # False: what is there stays


def _merge(
    node: vtk.vtkObject, segmentID: str, image: vtk.vtkObject, block: Block, mode: int
) -> None:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(image, node, segmentID, mode, block.extent):
        raise MorseError(f"The block could not be written into '{segmentID}'.")
