"""A module manager, and the C++ widget that owns a scripted module's Python widget.

As in Slicer: a module's widget is made when it is first asked for; *Reload* hides what was in it,
lets the old Python widget clean up and makes a new one in the same parent, without enter().
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property

from slicerqt.mrml import qMRMLWidget
from slicerqt.wrapper import wrap

__all__ = ["CLASSES", "ModuleManager", "ScriptedModule"]


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """Holds the Python widget of a scripted module."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._entered = False
        self._python: Any = None
        self._name = ""
        QtWidgets.QVBoxLayout(self)

    isEntered = Property(bool, lambda self: self._entered)

    def start(self, name: str) -> None:
        """Make the Python widget of a module that has been imported."""
        self._name = name
        self._python = getattr(sys.modules[name], f"{name}Widget")(wrap(self))
        setattr(slicer.modules, f"{name}Widget", self._python)
        self._python.setup()

    def reload(self) -> None:
        """Make it anew; see slicer.util.reloadScriptedModule, which calls this."""
        self.start(self._name)

    def self(self) -> Any:
        """The Python widget."""
        return self._python

    def enter(self) -> None:
        """The module is selected."""
        self._entered = True
        self._python.enter()

    def exit(self) -> None:
        """Another module is selected."""
        self._python.exit()
        self._entered = False


class ScriptedModule:
    """What ``slicer.modules.<name>`` is for a scripted module.

    :param path: of the module's Python file, which is imported.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = path.stem, str(path)
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        spec = importlib.util.spec_from_file_location(self.name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[self.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[self.name])

    def widgetRepresentation(self) -> Any:
        """The C++ widget, made by the first call."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget()
            self._widget.start(self.name)
        return wrap(self._widget)

    def unload(self) -> None:
        """What Slicer does when it quits."""
        if self._widget is not None:
            self._widget.self().cleanup()
            wrap(self._widget).delete()
            self._widget = None
            delattr(slicer.modules, f"{self.name}Widget")


class ModuleManager:
    """``slicer.app.moduleManager()``."""

    def __init__(self) -> None:
        self._modules: dict[str, ScriptedModule] = {}

    def load(self, path: Path) -> ScriptedModule:
        """What Slicer does at its start with a file of a module path."""
        module = ScriptedModule(path)
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        return module

    def unload(self, name: str) -> None:
        """Quit one module."""
        self._modules.pop(name).unload()
        delattr(slicer.modules, name.lower())
        del sys.modules[name]

    def module(self, name: str) -> ScriptedModule | None:
        """A loaded module."""
        return self._modules.get(name)

    def disconnect(self, signal: str, slot: Any) -> bool:
        """Whether there was a connection: the stand-in's widgets make none."""
        return False


CLASSES = {"qSlicerScriptedLoadableModuleWidget": qSlicerScriptedLoadableModuleWidget}
