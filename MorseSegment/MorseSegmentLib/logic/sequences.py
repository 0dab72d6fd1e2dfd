"""A volume that is one frame of a sequence: its frames, and the one that is seen."""

from dataclasses import dataclass

import vtk

from MorseSegmentLib.logic.inputs import InputVolume, readVolume

__all__ = ["Frame", "SequenceFrames", "findSequence"]

_PROXY, _SEQUENCE = "dataNodeRef", "sequenceNodeRef"  # a browser's roles, also in scene files


@dataclass(frozen=True)
class Frame:
    """A time point, or whatever the sequence runs through."""

    number: int
    """From 0."""
    label: str
    """Index value and unit, such as "1.5 s"."""


@dataclass(frozen=True, eq=False)
class SequenceFrames:
    """The frames behind a volume node.

    Example::

        sequence = findSequence(scene, volumeNode)        # None for an ordinary volume
        for frame in sequence.frames(): ...               # or only sequence.current
            volume = sequence.read(frame.number)          # InputVolume; what is seen stays
        sequence.show(3)
    """

    browser: vtk.vtkObject
    """vtkMRMLSequenceBrowserNode."""
    sequence: vtk.vtkObject
    """vtkMRMLSequenceNode."""

    def __len__(self) -> int:
        return self.sequence.GetNumberOfDataNodes()

    def frames(self) -> list[Frame]:
        """All frames, in their order."""
        unit = self.sequence.GetIndexUnit() or ""
        return [
            Frame(n, f"{self.sequence.GetNthIndexValue(n)} {unit}".strip())
            for n in range(len(self))
        ]

    @property
    def current(self) -> int:
        """Number of the frame that is seen."""
        # The browser counts the items of its master sequence, which may be another one.
        value = self.browser.GetMasterSequenceNode().GetNthIndexValue(
            self.browser.GetSelectedItemNumber()
        )
        return self.sequence.GetItemNumberFromIndexValue(value, False)

    def read(self, number: int) -> InputVolume:
        """Voxels and grid of a frame, without showing it.

        :raises MorseError: if the frame cannot be segmented; see :func:`readVolume`.
        """
        frame = readVolume(self.sequence.GetNthDataNode(number))
        return InputVolume(f"{frame.name} {number + 1}", frame.array, frame.geometry)

    def show(self, number: int) -> None:
        """Let the browser go to a frame."""
        self.browser.SetSelectedItemByIndexValue(self.sequence.GetNthIndexValue(number), False)


def findSequence(scene: vtk.vtkObject, volumeNode: vtk.vtkObject | None) -> SequenceFrames | None:
    """The sequence of which a volume node shows a frame; None if it shows none."""
    if volumeNode is None:
        return None
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(n, "vtkMRMLSequenceBrowserNode")
        sequence = _sequenceOf(scene, browser, volumeNode.GetID())
        if sequence is not None and sequence.GetNumberOfDataNodes():
            return SequenceFrames(browser, sequence)
    return None


def _sequenceOf(scene: vtk.vtkObject, browser: vtk.vtkObject, proxyID: str) -> vtk.vtkObject | None:
    # Not browser.GetSequenceNode(): asked while a sequence is being removed from the scene, as
    # panels do that follow the scene, it follows a pointer to what is gone, and Slicer crashes.
    for n in range(browser.GetNumberOfNodeReferenceRoles()):
        role = browser.GetNthNodeReferenceRole(n)
        if role.startswith(_PROXY) and browser.GetNodeReferenceID(role) == proxyID:
            sequenceID = browser.GetNodeReferenceID(_SEQUENCE + role.removeprefix(_PROXY))
            return scene.GetNodeByID(sequenceID) if sequenceID else None
    return None
