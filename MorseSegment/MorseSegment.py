"""MorseSegment: a segmentation with its uncertain boundary rendered again, in 3D Slicer."""

import importlib.util
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

if importlib.util.find_spec("MorseCore") is None:
    # Installed, MorseCore lies beside this file; in the source tree, beside this folder.
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.logic.inputs import regionText
from MorseSegmentLib.logic.parameters import parameterNode, readParameters, writeParameters
from MorseSegmentLib.logic.waiting import segmentAndWait
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.regions import addRegions
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.stepping import Steps, inThread

__all__ = [
    "MorseSegment",
    "MorseSegmentLogic",
    "MorseSegmentTest",
    "MorseSegmentWidget",
]


class MorseSegment(ScriptedLoadableModule):
    """What Slicer shows about the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Morse Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["MorseSegment contributors"]
        self.parent.helpText = _(
            "Segments a volume with a neural network and renders the boundary again where the "
            "network is unsure. Shows the coarse mask, the refined mask and the rendered points. "
            "For research; not for clinical decisions."
        )
        self.parent.acknowledgementText = _(
            "The method follows MORSE (MICCAI 2023, arXiv 2304.03209)."
        )


class MorseSegmentWidget(ScriptedLoadableModuleWidget):
    """The module's panel; its parts are in MorseSegmentLib.panels."""

    def setup(self) -> None:
        """Build the panel from its .ui file."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MorseSegmentLogic()
        self.panels: Any = None
        self.uiWidget: Any = None  # the .ui file's own widget, with the key's focus
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MorseSegment.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.uiWidget = uiWidget
        from MorseSegmentLib.panels.panelset import PanelSet  # widgets, so not for scripts

        self.panels = PanelSet(self.ui, self.logic)
        if self.parent.property("isEntered"):  # a reload does not call enter() again
            self.enter()

    def enter(self) -> None:
        """The module comes to the front."""
        if self.panels is not None:
            self.panels.enter(slicer.util.mainWindow() or self.uiWidget)

    def exit(self) -> None:
        """Another module comes to the front."""
        if self.panels is not None:
            self.panels.exit()

    def cleanup(self) -> None:
        """The panel is about to go: so do the worker, the key and all observers."""
        if self.panels is not None:
            self.panels.close()
            self.panels = None
        if self.uiWidget is not None:
            # After a reload, Slicer only hides the old widgets: their node selectors would follow
            # the scene for ever, and write what they choose into the new panel's settings.
            self.uiWidget.deleteLater()
            self.uiWidget = None

    def onReload(self) -> None:
        """For developers: load the library's files anew as well."""
        for name in list(sys.modules):
            if name.partition(".")[0] in ("MorseSegmentLib", "MorseCore"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class MorseSegmentLogic(ScriptedLoadableModuleLogic):
    """What the module does, for scripts.

    Example::

        logic = slicer.util.getModuleLogic("MorseSegment")
        shown = logic.segment(volumeNode, "hippocampus-t1", roiNode=roiNode)
        logic.removeResult(shown)
        shown = logic.showResultFolder(Path("results/case_01"), volumeNode)
    """

    def segment(
        self,
        volumeNode: Any,
        model: str,
        *,
        roiNode: Any = None,
        device: str = "auto",
        points: int | None = None,
        passes: int | None = None,
    ) -> SceneResult:
        """Segment a volume and show the result; returns when it is done.

        :param model: a model's name, or the path of its folder.
        :param roiNode: vtkMRMLMarkupsROINode; only what is inside is segmented.
        :raises MorseCore.errors.MorseError: if it does not work; the scene is as it was.
        """
        options = {"model": model, "device": device, "points": points, "passes": passes}
        options["roi"] = regionText(roiNode, volumeNode)
        return segmentAndWait(slicer.mrmlScene, volumeNode, options)

    def showResult(
        self, result: Segmentation, inputVolumeNode: Any = None, name: str = "MorseSegment"
    ) -> SceneResult:
        """Show a result in the scene and in the panel; see SceneWriter."""
        return finished(self._showInSteps(result, inputVolumeNode, name))

    def _showInSteps(self, result: Segmentation, volumeNode: Any, name: str) -> Steps[SceneResult]:
        shown = yield from SceneWriter(slicer.mrmlScene).showInSteps(result, volumeNode, name=name)
        if volumeNode is not None:
            addRegions(slicer.mrmlScene, shown, volumeNode)
        node = parameterNode(slicer.mrmlScene)
        writeParameters(node, replace(readParameters(node), result=shown.record))
        return shown

    def showResultFolder(self, folder: Path, inputVolumeNode: Any = None) -> SceneResult:
        """Show what a batch run wrote for one image.

        :param folder: holds report.json, the masks, the uncertainty and points.csv.
        :param inputVolumeNode: vtkMRMLScalarVolumeNode of the image, if it is loaded.
        :raises MorseCore.errors.MorseError: if the folder holds no complete result.
        """
        return finished(self.showResultFolderInSteps(folder, inputVolumeNode))

    def showResultFolderInSteps(
        self, folder: Path, inputVolumeNode: Any = None
    ) -> Steps[SceneResult]:
        """As :meth:`showResultFolder`, in short steps."""
        from MorseCore.inference.files import read_result  # needs SimpleITK, so not at start

        result = yield from inThread(partial(read_result, folder))
        if not slicer.mrmlScene.IsNodePresent(inputVolumeNode):
            inputVolumeNode = None  # none was chosen, or it was removed meanwhile
        return (yield from self._showInSteps(result, inputVolumeNode, folder.name))

    def removeResult(self, shown: SceneResult) -> None:
        """Remove every node of a result from the scene."""
        SceneWriter(slicer.mrmlScene).remove(shown)


class MorseSegmentTest(ScriptedLoadableModuleTest):
    """Run by *Reload and Test* and by the extension's build; see MorseSegmentLib.selftests."""

    def runTest(self) -> None:
        """Run all tests.

        :raises AssertionError: if one fails; stdout says which.
        """
        from MorseSegmentLib.selftests import runTests  # not needed to start Slicer

        if not runTests().wasSuccessful():
            raise AssertionError("Self tests of MorseSegment failed; see the Python console.")
