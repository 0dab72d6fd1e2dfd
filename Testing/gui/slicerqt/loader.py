"""Reads .ui files with Slicer's widgets in them."""

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from slicerqt import ctkwidgets, mrml
from slicerqt.wrapper import wrap

__all__ = ["QUiLoader", "UiError"]


class UiError(Exception):
    """A .ui file that asks for what is not there; Qt would only write a line into its log."""


class QUiLoader(QtUiTools.QUiLoader):
    """Makes our widgets by name, and makes the connections that the file lists."""

    def createWidget(
        self, className: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        """A widget of ours, or one of Qt's."""
        own = ctkwidgets.CLASSES.get(className) or mrml.CLASSES.get(className)
        if own is None:
            if not hasattr(QtWidgets, className):
                raise UiError(f"there is no stand-in for the widget class '{className}'")
            return super().createWidget(className, parent, name)
        widget = own(parent)
        widget.setObjectName(name)
        return widget

    def load(self, device: QtCore.QIODevice) -> QtWidgets.QWidget:
        """The file's top widget with its children."""
        tree = ET.fromstring(device.readAll().data())
        connections = tree.find("connections")
        wires = [] if connections is None else list(connections)
        if connections is not None:
            tree.remove(connections)  # Qt cannot connect signals that have Python arguments
        buffer = QtCore.QBuffer(self)
        buffer.setData(ET.tostring(tree))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        top = super().load(buffer)
        _checkProperties(tree, wrap(top))
        for wire in wires:
            _connect(wrap(top), *(wire.findtext(tag, "") for tag in _ENDS))
        return top


_ENDS = ("sender", "signal", "receiver", "slot")


def _connect(top: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
    def widget(name: str) -> Any:
        found = top if top.name == name else top.findChild("QObject", name)
        if found is None:
            raise UiError(f"a connection names the widget '{name}', which the file does not have")
        return found

    method = getattr(widget(receiver), slot.partition("(")[0])
    if not widget(sender).connect(signal, method):
        raise UiError(f"'{sender}' has no signal '{signal}'")


def _checkProperties(tree: ET.Element, top: Any) -> None:
    """A misspelt property of a widget becomes a dynamic one in Qt, without a word."""
    for element in tree.iter("widget"):
        name = element.get("name", "")
        widget = top if top.name == name else top.findChild("QWidget", name)
        for entry in element.findall("property"):
            key = entry.get("name", "")
            if entry.get("stdset") != "0" and not hasattr(widget, key):
                raise UiError(f"'{name}' ({element.get('class')}) has no property '{key}'")
