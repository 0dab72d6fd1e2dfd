"""A result shown in place of another, for instance at twice the resolution, with a way back."""

import vtk

from MorseCore.result import Segmentation
from MorseSegmentLib.record import SceneResult
from MorseSegmentLib.scene import SceneWriter
from MorseSegmentLib.undo import UndoStack

__all__ = ["ResultReplacer"]


class ResultReplacer:
    """Shows a new result and hides the old one, which stays in the scene.

    Example::

        undo = UndoStack()
        replacer = ResultReplacer(scene, undo)
        finer = replacer.replace(shown, result, volumeNode, name="Liver x2")
        undo.undo()          # ``finer`` is gone, ``shown`` is seen as it was before
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
        """Show a result as :meth:`SceneWriter.show` does and hide the nodes of ``shown``.

        :param title: for the undo button.
        """
        writer = SceneWriter(self._scene)
        new = writer.show(result, inputVolumeNode, name=name)
        visible = {}
        for nodeID in (shown.coarse, shown.refined, *shown.points):
            node = self._scene.GetNodeByID(nodeID)
            if node is not None and node.GetDisplayNode() is not None:
                visible[nodeID] = node.GetDisplayNode().GetVisibility()
                node.GetDisplayNode().SetVisibility(False)

        def back() -> None:
            writer.remove(new)
            for nodeID, visibility in visible.items():
                node = self._scene.GetNodeByID(nodeID)
                if node is not None and node.GetDisplayNode() is not None:
                    node.GetDisplayNode().SetVisibility(visibility)

        self._undo.push(title, back)
        return new
