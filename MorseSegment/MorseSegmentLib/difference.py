"""What the rendering added and removed, as segments of one node."""

from dataclasses import dataclass

import numpy as np
import vtk

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import Structure
from MorseSegmentLib.extras import addExtra, extraIDs, removeExtra
from MorseSegmentLib.nodes import NodeLedger
from MorseSegmentLib.record import SceneResult, readRecord
from MorseSegmentLib.segments import addSegmentation, referenceGeometry, showAsFill
from MorseSegmentLib.voxels import filledBox, labelsOf

__all__ = ["DifferenceView", "Masks", "differenceLabels", "masksOf"]

_KIND = "difference"
_ADDED, _REMOVED, _OTHER = (0.10, 0.75, 0.35), (0.90, 0.15, 0.10), (0.95, 0.80, 0.15)


class DifferenceView:
    """The difference of a result's two masks in the scene, on request.

    Example::

        difference = DifferenceView(scene, shown)
        difference.show()            # ID of a segmentation: added green, removed red
        difference.show(structure=2) # of one structure alone, instead of the former
        difference.nodeID            # also after a reload; None if it is not shown
        difference.hide()
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult) -> None:
        self._scene, self._shown = scene, shown

    @property
    def nodeID(self) -> str | None:
        """ID of the vtkMRMLSegmentationNode; None if there is none."""
        return next(iter(extraIDs(self._scene, self._shown, _KIND)), None)

    def show(self, structure: int | None = None) -> str:
        """Make the node anew from the masks as they are now; its ID.

        :param structure: a structure's value; of all structures together if None, where a voxel
            that went from one to another is in a third segment.
        :raises MorseError: if a mask is gone.
        """
        masks = masksOf(self._scene, self._shown)
        labels = masks.whole(differenceLabels(masks.coarse, masks.refined, structure))
        structures = [Structure(1, "Added", _ADDED), Structure(2, "Removed", _REMOVED)]
        if structure is None:
            structures.append(Structure(3, "Other structure", _OTHER))
        name = f"{readRecord(self._scene, self._shown).name} difference"
        self.hide()
        with NodeLedger(self._scene) as ledger:
            node = addSegmentation(
                ledger, name, labels, geometry=masks.geometry, structures=structures
            )
            showAsFill(node, opacity=0.8)
            addExtra(self._scene, self._shown, _KIND, node)
        return node.GetID()

    def hide(self) -> None:
        """Remove the node, if there is one."""
        for nodeID in extraIDs(self._scene, self._shown, _KIND):
            removeExtra(self._scene, nodeID)


@dataclass(frozen=True, eq=False)
class Masks:
    """Both label maps as they are in the scene, of the box that holds all their voxels."""

    coarse: np.ndarray
    """(K, J, I) of the box."""
    refined: np.ndarray
    start: tuple[int, int, int]
    """First voxel of the box in the whole, (K, J, I)."""
    geometry: Geometry
    """Grid of the whole."""

    def whole(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the box amid background, on the whole grid."""
        result = np.zeros(self.geometry.shape, labels.dtype)
        box = (slice(a, a + n) for a, n in zip(self.start, labels.shape, strict=True))
        result[tuple(box)] = labels
        return result


def masksOf(scene: vtk.vtkObject, shown: SceneResult) -> Masks:
    """The masks of a result, edited or not.

    :raises MorseError: if one is gone.
    """
    nodes = scene.GetNodeByID(shown.coarse), scene.GetNodeByID(shown.refined)
    if None in nodes:
        raise MorseError("The coarse or the refined segmentation is no longer in the scene.")
    geometry = referenceGeometry(nodes[1])
    start, stop = filledBox(nodes, geometry)
    part = geometry.crop(start, stop)
    return Masks(labelsOf(nodes[0], part), labelsOf(nodes[1], part), start, geometry)


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
