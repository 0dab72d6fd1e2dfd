"""Slicer's widgets that show nodes of a scene."""

from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

__all__ = ["CLASSES"]


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands its scene on."""

    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        """Keep the scene and tell those who are connected."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """The scene, if there is one."""
        return getattr(self, "_scene", None)


def _flag(name: str, default: Any) -> Property:
    """A property that is kept, and on which the list of nodes depends."""

    def write(self: "qMRMLNodeComboBox", value: Any) -> None:
        self._options[name] = value
        self._refresh()

    kind = "QStringList" if isinstance(default, list) else type(default)
    return Property(kind, lambda self: self._options.get(name, default), write)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node. It is no combo box itself: no count, currentIndex or currentText.

    Measured: if the current node is removed, it jumps to another one, also if none is allowed; a
    node that a script adds is not chosen, also if none is not allowed. After an import it makes
    its list anew (qMRMLSceneModel::updateScene) and falls back to none, or to the first node.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._options: dict[str, Any] = {}
        self._scene: Any = None
        self._observers: list[tuple[Any, int]] = []
        self._current = ""
        self._list = QtWidgets.QComboBox(self)
        self._list.activated.connect(lambda row: self.setCurrentNodeID(self._list.itemData(row)))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list)

    nodeTypes = _flag("nodeTypes", [])
    noneEnabled = _flag("noneEnabled", False)
    addEnabled = _flag("addEnabled", True)
    removeEnabled = _flag("removeEnabled", True)
    editEnabled = _flag("editEnabled", False)
    renameEnabled = _flag("renameEnabled", False)
    showHidden = _flag("showHidden", False)
    showChildNodeTypes = _flag("showChildNodeTypes", True)
    selectNodeUponCreation = _flag("selectNodeUponCreation", True)
    noneDisplay = _flag("noneDisplay", "None")
    baseName = _flag("baseName", "")

    def setMRMLScene(self, scene: Any) -> None:
        """Fill the list; where none is not allowed, the first node becomes the current one."""
        for owner, tag in self._observers:
            owner.RemoveObserver(tag)
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._observers = [(scene, scene.AddObserver(e, self._onScene)) for e in events]
            self._observers.append(
                (scene, scene.AddObserver(scene.EndImportEvent, self._onImported))
            )
            if not self.noneEnabled and self._nodes():
                self._choose(self._nodes()[0].GetID())
        self._refresh()
        self.mrmlSceneChanged.emit(scene)

    def _onScene(self, *_event: Any) -> None:
        if not shiboken6.isValid(self) or self._scene.IsBatchProcessing():
            return
        if self._current and self._scene.GetNodeByID(self._current) is None:
            self._choose(next((node.GetID() for node in self._nodes()), ""))
        self._refresh()

    def _onImported(self, *_event: Any) -> None:
        if shiboken6.isValid(self) and self._current:
            self._choose("" if self.noneEnabled else self._nodes()[0].GetID())

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]
        return [node for node in every if self._fits(node)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if self.showChildNodeTypes:
            return any(node.IsA(kind) for kind in self.nodeTypes)
        return node.GetClassName() in self.nodeTypes

    def _refresh(self) -> None:
        self._list.clear()
        if self.noneEnabled or not self._current:
            self._list.addItem(self.noneDisplay, "")
        for node in self._nodes():
            self._list.addItem(node.GetName(), node.GetID())
        self._list.setCurrentIndex(max(0, self._list.findData(self._current)))

    def _choose(self, nodeID: str) -> None:
        if nodeID != self._current:
            self._current = nodeID
            self._refresh()
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID)

    def setCurrentNodeID(self, nodeID: str) -> None:
        """An ID that is not offered means none; before there is a scene, nothing happens."""
        if self._scene is not None:
            known = {node.GetID() for node in self._nodes()}
            self._choose(nodeID if nodeID in known else "")

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node, or None."""
        self.setCurrentNodeID("" if node is None else node.GetID())

    def currentNode(self) -> Any:
        """The chosen node."""
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def nodeCount(self) -> int:
        """Number of nodes offered."""
        return len(self._nodes())

    def mrmlScene(self) -> Any:
        """The scene, if there is one."""
        return self._scene

    def addNode(self) -> Any:
        """What *Create new* does."""
        name = self._scene.GenerateUniqueName(self.baseName or "Node")
        node = self._scene.AddNewNodeByClass(self.nodeTypes[0], name)
        self.nodeAddedByUser.emit(node)
        self.setCurrentNode(node)
        return node

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)
    currentNodeId = Property(str, lambda self: self._current, setCurrentNodeID)


CLASSES: dict[str, type[QtCore.QObject]] = {
    "qMRMLWidget": qMRMLWidget,
    "qMRMLNodeComboBox": qMRMLNodeComboBox,
}
