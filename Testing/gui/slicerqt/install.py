"""Puts the stand-ins where a module looks for them."""

import sys
import types
from typing import Any

import slicer

from slicerqt import ctk, modules, mrml, qt, scripted
from slicerqt.events import processEvents
from slicerqt.slots import connect
from slicerqt.wrapper import wrap, wrapperClass

__all__ = ["install"]


class GuiApplication:
    """``slicer.app`` with the part that belongs to Qt."""

    def __init__(self, offscreen: Any) -> None:
        self._offscreen = offscreen
        self._modules = modules.ModuleManager()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._offscreen, name)

    def connect(self, signal: str, slot: Any) -> bool:
        """Signals of the application, such as ``aboutToQuit()``."""
        return connect(qt.application, signal, slot, wrap)

    def processEvents(self) -> None:
        """Let everything that waits happen."""
        processEvents()

    def moduleManager(self) -> Any:
        """Knows the modules that a test has loaded."""
        return self._modules

    def topLevelWidgets(self) -> tuple[Any, ...]:
        """There is no main window."""
        return ()

    def userSettings(self) -> Any:
        """Settings that are lost with the application."""
        return wrap(self._settings())

    def _settings(self) -> Any:
        if "settings" not in self.__dict__:
            path = f"{self._offscreen.temporaryPath}/Slicer.ini"
            made = qt.QSettings(path, qt.QSettings.IniFormat)
            self.__dict__["settings"] = made
        return self.__dict__["settings"]


def install() -> None:
    """Make qt, ctk and the rest importable; a second call does nothing."""
    from MorseSegmentPictures.bootstrap import startSlicer

    startSlicer()
    if isinstance(slicer.app, GuiApplication):
        return
    slicer.app = GuiApplication(slicer.app)
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    for name, owner in {**mrml.CLASSES, **modules.CLASSES}.items():
        setattr(slicer, name, wrapperClass(owner))
    slicer.qSlicerScriptedLoadableModule = modules.ScriptedModule
    _addModule("slicer.i18n", {"tr": scripted.tr, "translate": scripted.translate})
    _addModule("slicer.ScriptedLoadableModule", scripted.BASES)


def _addModule(name: str, members: dict[str, Any]) -> None:
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module
