"""The settings and the result that all panels show; panels are told of every change. No Qt."""

from typing import Any

import vtk

from MorseSegmentLib.logic.parameters import (
    Parameters,
    parameterNode,
    readParameters,
    writeParameters,
)
from MorseSegmentLib.scene.nodes import letGoOfVoxels
from MorseSegmentLib.scene.record import SceneResult, extraIDs, findResults
from MorseSegmentLib.worker.signals import Signals

__all__ = ["ModuleState"]


class ModuleState:
    """Each widget has one. Panels read and write it, and are told when something else does.

    Signals: ``changed``, after every change of settings or nodes; ``closing``, before the scene
    goes.

    Example::

        state = ModuleState(slicer.mrmlScene)
        state.signals.connect("changed", panel.refresh)
        state.set(replace(state.parameters, quality=4))
        state.close()

    :param scene: vtkMRMLScene.
    """

    def __init__(self, scene: vtk.vtkObject) -> None:
        self.scene = scene
        self.signals = Signals("changed", "closing")
        self._observed: list[tuple[vtk.vtkObject, int]] = []
        self._node: Any = None
        self.isOpen = True
        """Until :meth:`close`. Postponed work must not touch the widgets after that."""
        self.isImporting = False
        """From an import's start to :meth:`settle`. Node selectors lose their nodes meanwhile."""
        self._observed.append((scene, scene.AddObserver(scene.StartImportEvent, self._onImport)))
        self._observed.append((scene, scene.AddObserver(scene.StartCloseEvent, self._onStartClose)))
        for event in (scene.EndCloseEvent, scene.EndImportEvent, scene.NodeRemovedEvent):
            self._observed.append((scene, scene.AddObserver(event, self._onScene)))
        self._observeNode()

    @property
    def parameters(self) -> Parameters:
        """What the scene's parameter node holds now."""
        return readParameters(self.node)

    @property
    def node(self) -> vtk.vtkObject:
        """The parameter node; made again if a script removed it."""
        if self._node is None or not self.scene.IsNodePresent(self._node):
            self._observeNode()
        return self._node

    @property
    def shown(self) -> SceneResult | None:
        """The result that the panels show: the chosen one, else the newest in the scene."""
        results = findResults(self.scene)
        chosen = self.parameters.result
        return next(
            (result for result in results if result.record == chosen),
            results[-1] if results else None,
        )

    def set(self, parameters: Parameters) -> None:
        """Write the settings; the panels are told if anything is different."""
        if parameters != self.parameters:
            writeParameters(self.node, parameters)

    def changed(self) -> None:
        """Tell the panels that the result itself is different: other voxels, other points."""
        self._tell()

    def settle(self) -> None:
        """Everything that observes imports has been told."""
        self.isImporting = self.scene.IsImporting()

    def close(self) -> None:
        """Stop listening."""
        self.isOpen = False
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed.clear()
        self.signals.disconnectAll()

    def _observeNode(self) -> None:
        self._node = parameterNode(self.scene)
        tag = self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onNode)
        self._observed.append((self._node, tag))

    def _onStartClose(self, *_event: Any) -> None:
        self.signals.emit("closing")
        for result in findResults(self.scene):
            for nodeID in (result.coarse, result.refined, *extraIDs(self.scene, result)):
                letGoOfVoxels(self.scene.GetNodeByID(nodeID))

    def _onImport(self, *_event: Any) -> None:
        self.isImporting = True

    def _onScene(self, *_event: Any) -> None:
        if not self.scene.IsClosing() and not self.scene.IsImporting():
            self._tell()

    def _onNode(self, *_event: Any) -> None:
        if not self.scene.IsBatchProcessing():
            self._tell()

    def _tell(self) -> None:
        self.signals.emit("changed")
