"""The module ``qt``: every class of Qt under one name, as PythonQt shows it."""

import os
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from slicerqt.immortal import keepAlive
from slicerqt.values import Enumerator
from slicerqt.wrapper import wrap, wrapperClass

__all__ = ["application"]

keepAlive()
application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])


class QProcess(QtCore.QProcess):
    """Takes text as well as bytes."""

    def write(self, data: str | bytes | QtCore.QByteArray) -> int:
        """Number of bytes that were taken."""
        return super().write(data.encode() if isinstance(data, str) else data)


class QSettings(QtCore.QSettings):
    """Values come back as they were stored; there is no third argument for a type."""

    def value(self, key: str, default: Any = None) -> Any:
        """The stored value, or the default."""
        return super().value(key, default)


class QShortcut(QtGui.QShortcut):
    """Wants a QKeySequence, not its text."""

    def __init__(self, key: QtGui.QKeySequence, parent: QtWidgets.QWidget) -> None:
        if isinstance(key, str):
            raise TypeError("a QShortcut needs a QKeySequence")
        super().__init__(key, parent)


class _Namespace:
    """``qt.Qt``: enumerators only."""

    def __getattr__(self, name: str) -> Any:
        if name in {"CTRL", "SHIFT", "ALT", "META"}:
            raise AttributeError(f"type object 'Qt' has no attribute '{name}'")
        value = wrap(getattr(QtCore.Qt, name))
        if not isinstance(value, Enumerator):
            raise AttributeError(f"type object 'Qt' has no attribute '{name}'")
        return value


Qt = _Namespace()
_OWN = {owner.__name__: owner for owner in (QProcess, QSettings, QShortcut)}
QProcess, QSettings, QShortcut = map(wrapperClass, _OWN.values())  # type: ignore[misc]


def __getattr__(name: str) -> Any:
    from slicerqt.loader import QUiLoader

    if name == "QUiLoader":
        return wrapperClass(QUiLoader)
    for source in (QtCore, QtGui, QtWidgets, QtUiTools):
        found = getattr(source, name, None)
        if name.startswith("Q") and isinstance(found, type):
            return wrapperClass(found)
    raise AttributeError(f"module 'qt' has no attribute '{name}'")
