"""Shows a result in place of another, for instance at twice the resolution, with undo."""

import zlib
from typing import Any

import vtk

from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.undo import TakenBack, UndoStack
from MorseSegmentLib.scene.cropping import slabs
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.stepping import Steps
from MorseSegmentLib.scene.voxels import voxelsOf

__all__ = ["ResultReplacer"]


class ResultReplacer:
    """Shows a new result and hides the old one, which stays in the scene.

    Example::

        undo = UndoStack()
        replacer = ResultReplacer(scene, undo)
        finer = replacer.replace(shown, result, volumeNode, name="Liver x2")
        undo.undo()          # ``finer`` is gone, ``shown`` is seen as it was before

    Undo hides a new result that a person has edited instead of removing it, and says so.
    """

    def __init__(self, scene: vtk.vtkObject, undo: UndoStack) -> None:
        self._scene, self._undo = scene, undo

    def replace(
        self,
        shown: SceneResult,
        result: Segmentation,
        inputVolumeNode: vtk.vtkObject | None = None,
        *,
        name: str = "MorseSegment",
        title: str = "Whole result again",
    ) -> SceneResult:
        """Do :meth:`replaceInSteps` at once."""
        steps = self.replaceInSteps(shown, result, inputVolumeNode, name=name, title=title)
        return finished(steps)

    def replaceInSteps(
        self,
        shown: SceneResult,
        result: Segmentation,
        inputVolumeNode: vtk.vtkObject | None = None,
        *,
        name: str = "MorseSegment",
        title: str = "Whole result again",
    ) -> Steps[SceneResult]:
        """Show a result as :class:`SceneWriter` does and hide the nodes of ``shown``.

        :param title: for the undo button.
        """
        writer = SceneWriter(self._scene)
        new = yield from writer.showInSteps(result, inputVolumeNode, name=name)
        with NodeLedger(self._scene) as ledger:
            ledger.onError(lambda: writer.remove(new))
            made = yield from _contentInSteps(self._scene, new)
        visible = {}
        for nodeID in (shown.coarse, shown.refined, *shown.points):
            node = self._scene.GetNodeByID(nodeID)
            if node is not None and node.GetDisplayNode() is not None:
                visible[nodeID] = node.GetDisplayNode().GetVisibility()
                node.GetDisplayNode().SetVisibility(False)

        def back() -> Steps[TakenBack]:
            note = ""
            isGone = self._scene.GetNodeByID(new.refined) is None
            if isGone or made == (yield from _contentInSteps(self._scene, new)):
                yield from writer.removeInSteps(new)
            else:  # a person's work is in it
                for nodeID in (new.coarse, new.refined, *new.points):
                    self._setVisibility(nodeID, visibility=False)
                note = f"'{name}' was edited or reviewed since, so it stays in the scene, hidden."
            for nodeID, visibility in visible.items():
                self._setVisibility(nodeID, visibility=visibility)
            return TakenBack(note=note, look=shown)

        self._undo.push(title, back)
        return new

    def _setVisibility(self, nodeID: str, *, visibility: bool) -> None:
        node = self._scene.GetNodeByID(nodeID)
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(visibility)


def _contentInSteps(scene: vtk.vtkObject, shown: SceneResult) -> Steps[list[Any]]:
    """What a person can have worked on: the voxels of the masks, as a checksum, and the review."""
    found: list[Any] = []
    for nodeID in (shown.coarse, shown.refined):
        node = scene.GetNodeByID(nodeID)
        if node is None:
            continue
        layers = {}
        for segmentID in node.GetSegmentation().GetSegmentIDs():
            value = node.GetSegmentation().GetSegment(segmentID).GetLabelValue()
            image = node.GetBinaryLabelmapInternalRepresentation(segmentID)
            if image is not None and not image.IsEmpty():
                layers.setdefault(image, []).append((segmentID, value))
        for image, members in layers.items():
            voxels, checksum = voxelsOf(image), 0
            for first, last in slabs(voxels.shape):
                checksum = zlib.crc32(voxels[first:last], checksum)
                yield
            found.append((members, image.GetExtent(), checksum))
    table = scene.GetNodeByID(shown.pointTable)
    if table is not None:
        found.append(PointTable.read(table).reviews())
    return found
