"""Give `import slicer` of the slicer-core wheel a scene, module logics and file readers.

The wheel holds Slicer's compiled libraries and `slicer.util` but starts nothing. In the real
application none of this is needed, and :func:`startSlicer` refuses to replace what is there.
"""

import sys
import tempfile
import types
from pathlib import Path

import slicer
import vtk

from MorseSegmentPictures.files import FileManager

__all__ = ["OffscreenApplication", "startSlicer"]

_LOGIC_CLASSES = {
    "colors": "vtkSlicerColorLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "tables": "vtkSlicerTablesLogic",
    "sequences": "vtkSlicerSequencesLogic",  # also makes the scene know its nodes
}


class OffscreenModule:
    """What ``slicer.modules.<name>`` gives: a name and a logic."""

    def __init__(self, name: str, logic: vtk.vtkObject) -> None:
        self.name = name
        self._logic = logic

    def logic(self) -> vtk.vtkObject:
        """The module's logic, connected to the scene."""
        return self._logic


class OffscreenApplication:
    """The part of ``slicer.app`` that `slicer.util` needs without a window."""

    applicationName = "Slicer"

    def __init__(self, scene: vtk.vtkObject) -> None:
        self._scene = scene
        self._files = FileManager(scene)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._temporary = tempfile.TemporaryDirectory(prefix="morse-slicer-")
        self.temporaryPath = self._temporary.name
        self._connectLogic()
        self._connectStorage()

    def mrmlScene(self) -> vtk.vtkObject:
        """The one scene."""
        return self._scene

    def applicationLogic(self) -> vtk.vtkObject:
        """The logic that views and module logics ask for the colour and slice logics."""
        return self._logic

    def coreIOManager(self) -> FileManager:
        """Reads and writes nodes by file type."""
        return self._files

    ioManager = coreIOManager

    def testingEnabled(self) -> bool:
        """Always: there is nobody to answer a message box."""
        return True

    def layoutManager(self) -> None:
        """There are no widgets; `slicer.util` takes None for that."""

    def _ignore(self, *_arguments: object) -> None:
        """Requests to the window system, of which there is none."""

    processEvents = pauseRender = resumeRender = _ignore
    setOverrideCursor = restoreOverrideCursor = _ignore

    def _connectLogic(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()  # the application logic expects the singleton
        crosshair.SetCrosshairName("default")
        self._scene.AddNode(crosshair)
        self._logic.SetMRMLScene(self._scene)
        self._logic.GetColorLogic().SetMRMLScene(self._scene)
        self._logic.GetColorLogic().AddDefaultColorNodes()
        self._logic.SetSliceLogics(vtk.vtkCollection())
        self._logic.SetViewLogics(vtk.vtkCollection())
        self._connectEmptyShare()
        self._logic.SetTemporaryPath(self.temporaryPath)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self._scene, True)

    def _connectEmptyShare(self) -> None:
        # The logic looks for colour files here and complains if the folder is missing.
        Path(self.temporaryPath, "share", "ColorFiles").mkdir(parents=True)
        self._logic.SetHomeDirectory(self.temporaryPath)
        self._logic.SetShareDirectory("share")

    def _connectStorage(self) -> None:
        # Storage nodes and .mrb files go through the data IO manager; without one they fail.
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self._scene)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(f"{self.temporaryPath}/cache")
        self._dataIO = slicer.vtkDataIOManagerLogic()
        self._dataIO.SetMRMLApplicationLogic(self._logic)
        self._dataIO.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._dataIO.SetMRMLScene(self._scene)
        self._remote.AddDataIOToScene()


def startSlicer() -> vtk.vtkObject:
    """Set ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``; a second call does nothing.

    :return: the scene (vtkMRMLScene); in the real application, its own.
    """
    scene = getattr(slicer, "mrmlScene", None)
    if scene is not None:
        return scene
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    slicer.app = OffscreenApplication(scene)
    slicer.modules = types.ModuleType("slicer.modules")
    sys.modules["slicer.modules"] = slicer.modules
    for name, className in _LOGIC_CLASSES.items():
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        logic.SetMRMLScene(scene)
        slicer.app.applicationLogic().SetModuleLogic(name.capitalize(), logic)
        setattr(slicer.modules, name, OffscreenModule(name, logic))
    return scene
