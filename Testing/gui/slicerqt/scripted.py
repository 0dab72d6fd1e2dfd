"""The classes that a scripted module derives from, as small as the module needs them."""

import unittest
from pathlib import Path
from typing import Any

import slicer

from slicerqt import qt

__all__ = ["BASES", "tr", "translate"]


def tr(text: str) -> str:
    """Without a translation file a text is itself."""
    if not isinstance(text, str):
        raise TypeError(f"only text can be translated; found {text!r}")
    return text


def translate(context: str, text: str) -> str:
    """As :func:`tr`."""
    return tr(text)


class ScriptedLoadableModule:
    """Describes the module."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    """Has a widget with a vertical layout; Slicer calls setup, enter, exit and cleanup."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent or slicer.qMRMLWidget()
        if parent is None:
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()

    def resourcePath(self, name: str) -> str:
        """A file in the module's Resources folder."""
        module = getattr(slicer.modules, self.moduleName.lower())
        return str(Path(module.path).parent / "Resources" / name)

    def setup(self) -> None:
        """Developer tools would come here."""

    def cleanup(self) -> None:
        """Called before the widget is destroyed."""

    def onReload(self) -> None:
        """The developer's button *Reload*; what it calls is Slicer's own."""
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """Computes."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Tests inside Slicer."""


BASES = {
    owner.__name__: owner
    for owner in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
}
