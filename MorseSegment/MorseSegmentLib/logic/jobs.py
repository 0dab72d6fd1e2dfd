"""What one run segments: a volume, or all frames of a sequence one after the other. No Qt."""

from typing import Protocol

import vtk

from MorseCore.errors import MorseError
from MorseCore.result import Segmentation
from MorseSegmentLib.logic.inputs import InputVolume, readVolume
from MorseSegmentLib.scene.result import SceneResult, SceneWriter

__all__ = ["Job", "OneVolume"]


class Job(Protocol):
    """Images in their order; the scene changes in :meth:`finish`, at once or not at all."""

    name: str
    count: int
    """Number of images."""
    keepsField: bool
    """Whether the last image's field may be asked further for the result."""

    def read(self, number: int) -> InputVolume:
        """The image ``number``, from 0.

        :raises MorseError: if it cannot be segmented.
        """

    def title(self, number: int) -> str:
        """Which one that is, for a person."""

    def isInScene(self) -> bool:
        """Whether all is there that :meth:`read` and :meth:`finish` need."""

    def take(self, number: int, result: Segmentation) -> None:
        """Keep the result of an image, outside of the scene."""

    def finish(self) -> SceneResult:
        """Show what was taken."""


class OneVolume:
    """The image that a volume node holds.

    :raises MorseError: if it cannot be segmented.
    """

    count, keepsField = 1, True

    def __init__(self, scene: vtk.vtkObject, volumeNode: vtk.vtkObject | None) -> None:
        self._scene = scene
        self._volume = readVolume(volumeNode)
        self._volumeID = "" if volumeNode is None else volumeNode.GetID()
        self._result: Segmentation | None = None
        self.name = self._volume.name

    def read(self, number: int) -> InputVolume:
        """The one image."""
        return self._volume

    def title(self, number: int) -> str:
        """The volume's name."""
        return f"'{self.name}'"

    def isInScene(self) -> bool:
        """Whether the volume is."""
        return self._scene.GetNodeByID(self._volumeID) is not None

    def take(self, number: int, result: Segmentation) -> None:
        """Keep the result; its arrays may be files that last as long as this call's caller."""
        self._result = result

    def finish(self) -> SceneResult:
        """Show it."""
        if self._result is None:
            raise MorseError("There is no result.")
        volumeNode = self._scene.GetNodeByID(self._volumeID)
        result, self._result = self._result, None  # its files go, if nothing holds them
        return SceneWriter(self._scene).show(result, volumeNode, name=self.name)
