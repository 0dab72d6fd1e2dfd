"""What one run segments: a volume, or all frames of a sequence one after the other. No Qt."""

from dataclasses import replace
from typing import Protocol

import slicer
import vtk

from MorseCore.errors import MorseError
from MorseCore.result import Segmentation
from MorseSegmentLib.logic.inputs import InputVolume, modalityOf, readVolume
from MorseSegmentLib.logic.sequences import SequenceFrames
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.record import SEQUENCE, SceneResult, addExtra
from MorseSegmentLib.scene.regions import addRegions
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.stepping import Steps

__all__ = ["AllFrames", "Job", "OneVolume"]

_SINGLE = ("coarse", "refined", "uncertainty", "pointTable", "record")
_EDITED = ("coarse", "refined", "pointTable")  # by a person, who wants to keep that in each frame


class Job(Protocol):
    """Images in order. The scene changes in :meth:`finishInSteps` only, wholly or not at all."""

    name: str
    count: int
    """Number of images."""
    keepsField: bool
    """Whether the last image's field is that of the whole result, which can then be refined."""

    def read(self, number: int) -> InputVolume:
        """The image ``number``, from 0.

        :raises MorseError: if it cannot be segmented.
        """

    def title(self, number: int) -> str:
        """Which one that is, for a person."""

    def isInScene(self) -> bool:
        """Whether all is there that :meth:`read` and :meth:`finishInSteps` need."""

    def takeInSteps(self, number: int, result: Segmentation) -> Steps[None]:
        """Keep the result of an image, outside of the scene."""

    def finishInSteps(self) -> Steps[SceneResult]:
        """Show what was taken. Closed before their end, the steps leave no trace."""


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

    def takeInSteps(self, number: int, result: Segmentation) -> Steps[None]:
        """Keep the result; its arrays may be files, which are read by :meth:`finishInSteps`."""
        self._result = result
        yield

    def finishInSteps(self) -> Steps[SceneResult]:
        """Show it."""
        if self._result is None:
            raise MorseError("There is no result.")
        volumeNode = self._scene.GetNodeByID(self._volumeID)
        result, self._result = self._result, None  # its files go, if nothing holds them
        shown = yield from SceneWriter(self._scene).showInSteps(result, volumeNode, name=self.name)
        addRegions(self._scene, shown, volumeNode)
        return shown


class AllFrames:
    """A result for every frame, or none: the scene does not change before :meth:`finishInSteps`.

    The nodes that show the result in the scene – masks, uncertainty, points, their table and the
    record – become proxies of sequences of their own in the input's browser. So whatever
    reads a result from the scene gets that of the current frame, also after save and reload.

    Example::

        job = AllFrames(scene, findSequence(scene, volumeNode), volumeNode)
        for number in range(job.count):
            finished(job.takeInSteps(number, segment(job.read(number))))
        shown = finished(job.finishInSteps())
    """

    keepsField = False  # the worker holds the field of one frame, and the result has all

    def __init__(
        self, scene: vtk.vtkObject, frames: SequenceFrames, volumeNode: vtk.vtkObject
    ) -> None:
        self._scene, self._frames = scene, frames
        self._volumeID, self.name = volumeNode.GetID(), volumeNode.GetName()
        self._modality = modalityOf(volumeNode)  # the frames themselves are of no study
        self.count = len(frames)
        self._titles = [frame.label for frame in frames.frames()]
        self._sequences: dict[str, vtk.vtkObject] = {}
        self._last: Segmentation | None = None
        # A scene of its own: data nodes are made of nodes, which a person should not see come.
        self._workshop = slicer.vtkMRMLScene()
        scene.CopyRegisteredNodesToScene(self._workshop)

    def read(self, number: int) -> InputVolume:
        """A frame, which need not be the one that is seen."""
        return replace(self._frames.read(number), modality=self._modality)

    def title(self, number: int) -> str:
        """Its place, and its index value."""
        return f"Frame {number + 1} of {self.count} ({self._titles[number]})"

    def isInScene(self) -> bool:
        """Whether the volume, its sequence and the browser are, with all their frames."""
        nodes = (self._frames.browser, self._frames.sequence)
        return (
            self._scene.GetNodeByID(self._volumeID) is not None
            and all(self._scene.IsNodePresent(node) for node in nodes)
            and len(self._frames) == self.count
        )

    def takeInSteps(self, number: int, result: Segmentation) -> Steps[None]:
        """Put a frame's result into sequences outside of the scene."""
        writer = SceneWriter(self._workshop)
        shown = yield from writer.showInSteps(result, name=self.name)
        value = self._frames.sequence.GetNthIndexValue(number)
        for role, nodeID in _roles(shown).items():
            node = self._workshop.GetNodeByID(nodeID)
            if role not in self._sequences:
                self._sequences[role] = self._makeSequence(node)
            self._sequences[role].SetDataNodeAtValue(node, value)
            yield
        yield from writer.removeInSteps(shown)
        self._last = result

    def finishInSteps(self) -> Steps[SceneResult]:
        """Add the sequences to the scene, with the nodes that show the frame that is seen."""
        if self._last is None or not self.isInScene():
            raise MorseError("The sequence is no longer in the scene as it was.")
        volumeNode = self._scene.GetNodeByID(self._volumeID)
        writer, browser = SceneWriter(self._scene), self._frames.browser
        last, self._last = self._last, None  # its files go, if nothing holds them
        shown = yield from writer.showInSteps(last, volumeNode, name=self.name)
        del last
        with NodeLedger(self._scene) as ledger:
            ledger.onError(lambda: writer.remove(shown))
            for role, nodeID in _roles(shown).items():
                sequence = ledger.add(self._sequences[role])
                ledger.onError(lambda s=sequence: browser.RemoveSynchronizedSequenceNode(s.GetID()))
                addExtra(self._scene, shown, SEQUENCE, sequence)
                _synchronise(
                    browser, sequence, self._scene.GetNodeByID(nodeID), save=role in _EDITED
                )
        return shown

    def _makeSequence(self, node: vtk.vtkObject) -> vtk.vtkObject:
        source, sequence = self._frames.sequence, slicer.vtkMRMLSequenceNode()
        sequence.SetName(f"{node.GetName()} sequence")
        sequence.SetIndexName(source.GetIndexName())
        sequence.SetIndexUnit(source.GetIndexUnit())
        sequence.SetIndexType(source.GetIndexType())
        return sequence


def _roles(shown: SceneResult) -> dict[str, str]:
    """IDs of the nodes that differ from frame to frame."""
    ids = {role: getattr(shown, role) for role in _SINGLE}
    ids.update((f"points{n}", nodeID) for n, nodeID in enumerate(shown.points))
    return ids


def _synchronise(
    browser: vtk.vtkObject, sequence: vtk.vtkObject, node: vtk.vtkObject, *, save: bool
) -> None:
    """Let a node show the item of a sequence that the browser selects."""
    # In one change: else the browser makes a proxy node of its own first, and leaves it behind.
    wasModifying = browser.StartModify()
    try:
        browser.AddSynchronizedSequenceNodeID(sequence.GetID())
        browser.AddProxyNode(node, sequence, False)
        browser.SetOverwriteProxyName(sequence, False)
        browser.SetSaveChanges(sequence, save)
    finally:
        browser.EndModify(wasModifying)
