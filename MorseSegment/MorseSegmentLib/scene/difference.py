"""What the rendering added and removed, as segments of one node."""

from collections.abc import Generator

import numpy as np
import vtk

from MorseCore.result import Structure
from MorseSegmentLib.scene.cropping import slabs
from MorseSegmentLib.scene.masks import Box, Masks, boxesOf, masksInSteps
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.record import SceneResult, addExtra, extraIDs, readRecord, removeExtra
from MorseSegmentLib.scene.segments import addSegmentation, showAsFill

__all__ = ["DifferenceView", "differenceLabels"]

_KIND = "difference"
_STRUCTURE = "MorseSegment.Structure"  # attribute: of which structure a node shows the difference
_ADDED, _REMOVED, _OTHER = (0.10, 0.75, 0.35), (0.90, 0.15, 0.10), (0.95, 0.80, 0.15)


class DifferenceView:
    """The difference of a result's two masks in the scene, on request.

    Example::

        difference = DifferenceView(scene, shown)
        finished(difference.showInSteps())   # ID of a segmentation: added green, removed red
        difference.nodeID            # also after a reload; None if it is not shown
        difference.hide()
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult) -> None:
        self._scene, self._shown = scene, shown

    @property
    def nodeID(self) -> str | None:
        """ID of the vtkMRMLSegmentationNode; None if there is none."""
        return next(iter(extraIDs(self._scene, self._shown, _KIND)), None)

    @property
    def structure(self) -> int | None:
        """The structure whose difference is shown; None if it is of all, or not shown."""
        node = self._scene.GetNodeByID(self.nodeID) if self.nodeID is not None else None
        text = "" if node is None else node.GetAttribute(_STRUCTURE) or ""
        return int(text) if text.isdecimal() else None

    def showInSteps(
        self, structure: int | None = None, masks: Masks | None = None
    ) -> Generator[None, None, str]:
        """Make the node anew from the masks as they are now, in short steps; its ID.

        :param structure: a structure's value; None: all structures together. A voxel that went from
            one structure to another is then in a third segment.
        :param masks: the masks as they are now, if they have been read already.
        :raises MorseError: if a mask is gone.
        """
        if masks is None:
            masks = yield from masksInSteps(self._scene, self._shown)
        labels = np.zeros(masks.coarse.shape, np.uint8)
        boxes: dict[int, Box] = {}
        for first, last in slabs(labels.shape):
            part = slice(first, last)
            labels[part] = differenceLabels(masks.coarse[part], masks.refined[part], structure)
            boxesOf((labels[part] > 0).view(np.uint8), first, boxes)
            yield
        box = boxes.get(1, (slice(0, 1),) * 3)
        start = tuple(a + side.start for a, side in zip(masks.start, box, strict=True))
        return self._add(labels[box], start, masks, structure)

    def _add(
        self, labels: np.ndarray, start: tuple[int, ...], masks: Masks, structure: int | None
    ) -> str:
        structures = [Structure(1, "Added", _ADDED), Structure(2, "Removed", _REMOVED)]
        if structure is None:
            structures.append(Structure(3, "Other structure", _OTHER))
        name = f"{readRecord(self._scene, self._shown).name} difference"
        self.hide()
        with NodeLedger(self._scene) as ledger:
            node = addSegmentation(
                ledger, name, labels, geometry=masks.geometry, structures=structures, start=start
            )
            node.SetAttribute(_STRUCTURE, "" if structure is None else str(structure))
            showAsFill(node, opacity=0.8)
            addExtra(self._scene, self._shown, _KIND, node)
        return node.GetID()

    def hide(self) -> None:
        """Remove the node, if there is one."""
        for nodeID in extraIDs(self._scene, self._shown, _KIND):
            removeExtra(self._scene, nodeID)


def differenceLabels(
    coarse: np.ndarray, refined: np.ndarray, structure: int | None = None
) -> np.ndarray:
    """uint8 like the label maps: 1 added, 2 removed, 3 went from one structure to another."""
    if structure is not None:
        coarse, refined = coarse == structure, refined == structure
    labels = np.zeros(coarse.shape, np.uint8)
    different = coarse != refined
    labels[different] = 3
    labels[different & (coarse == 0)] = 1
    labels[different & (refined == 0)] = 2
    return labels
