"""MorseSegment: a segmentation with its uncertain boundary rendered again, in 3D Slicer."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import qt
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

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.scene import SceneResult, SceneWriter

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
    """Says how to compute a result and shows one that is there."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MorseSegmentLogic()

        introduction = qt.QLabel(
            _(
                "Results are computed by a batch run; this panel shows them.\n\n"
                "In a terminal:\n"
                "Slicer --no-splash --no-main-window --exit-after-startup --python-script "
                "MorseSegment/Scripts/segment_batch.py -- --input IMAGE --output FOLDER "
                "--model MODEL\n\n"
                "Then choose the folder of one image below: the one that holds report.json."
            )
        )
        introduction.wordWrap = True
        introduction.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        self.layout.addWidget(introduction)

        self.volumeSelector = slicer.qMRMLNodeComboBox()
        self.volumeSelector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volumeSelector.showChildNodeTypes = False
        self.volumeSelector.addEnabled = False
        self.volumeSelector.removeEnabled = False
        self.volumeSelector.noneEnabled = True
        self.volumeSelector.noneDisplay = _("(image not in the scene)")
        self.volumeSelector.toolTip = _("The image that was segmented, if it is loaded.")
        self.volumeSelector.setMRMLScene(slicer.mrmlScene)
        self.layout.addWidget(self.volumeSelector)

        self.loadButton = qt.QPushButton(_("Load result folder..."))
        self.loadButton.connect("clicked(bool)", self.onLoadButton)
        self.layout.addWidget(self.loadButton)

        self.statusLabel = qt.QLabel("")
        self.statusLabel.wordWrap = True
        self.layout.addWidget(self.statusLabel)
        self.layout.addStretch(1)

    def onLoadButton(self) -> None:
        """Ask for a folder and show what is in it."""
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder with report.json")
        )
        if not folder:
            return
        self.statusLabel.text = ""
        with slicer.util.tryWithErrorDisplay(_("The result could not be shown."), waitCursor=True):
            self.logic.showResultFolder(Path(folder), self.volumeSelector.currentNode())
            self.statusLabel.text = _("Shown: {name}").format(name=Path(folder).name)


class MorseSegmentLogic(ScriptedLoadableModuleLogic):
    """What the module does, for scripts.

    Example::

        logic = slicer.util.getModuleLogic("MorseSegment")
        shown = logic.showResultFolder(Path("results/case_01"), volumeNode)
        logic.removeResult(shown)
    """

    def showResult(
        self, result: Segmentation, inputVolumeNode: Any = None, name: str = "MorseSegment"
    ) -> SceneResult:
        """Show a result in the scene; see :class:`MorseSegmentLib.scene.SceneWriter`."""
        return SceneWriter(slicer.mrmlScene).show(result, inputVolumeNode, name=name)

    def showResultFolder(self, folder: Path, inputVolumeNode: Any = None) -> SceneResult:
        """Show what a batch run wrote for one image.

        :param folder: holds report.json, the masks, the uncertainty and points.csv.
        :param inputVolumeNode: vtkMRMLScalarVolumeNode of the image, if it is loaded.
        :raises MorseCore.errors.MorseError: if the folder holds no complete result.
        """
        from MorseCore.output import read_result  # needs SimpleITK, so not at start

        return self.showResult(read_result(folder), inputVolumeNode, name=folder.name)

    def removeResult(self, shown: SceneResult) -> None:
        """Remove every node of a result from the scene."""
        SceneWriter(slicer.mrmlScene).remove(shown)


class MorseSegmentTest(ScriptedLoadableModuleTest):
    """Run by *Reload and Test* and by the extension's build."""

    def setUp(self) -> None:
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests."""
        self.setUp()
        self.test_aResultComesAndGoes()

    def test_aResultComesAndGoes(self) -> None:
        """A cube with one rendered point is shown with its voxels and removed without a trace."""
        masks = np.zeros((4, 5, 6), np.uint8)
        masks[1:3, 1:3, 1:3] = 1
        one, half = np.ones(1, np.int32), np.full(1, 0.5, np.float32)
        points = RenderedPoints(
            np.ones((1, 3)), np.ones((1, 3), np.int32), half, one, one, half, half
        )
        result = Segmentation(
            Geometry(masks.shape, np.eye(4)),
            (Structure(1, "Cube", (0.9, 0.4, 0.2)),),
            masks,
            masks,
            masks.astype(np.float32),
            points,
        )
        logic = MorseSegmentLogic()
        before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode")
        shown = logic.showResult(result)
        segmentationNode = slicer.mrmlScene.GetNodeByID(shown.refined)
        uncertaintyNode = slicer.mrmlScene.GetNodeByID(shown.uncertainty)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(
            segmentationNode, "Cube", uncertaintyNode
        )
        assert np.array_equal(voxels > 0, masks > 0)
        logic.removeResult(shown)
        after = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode")
        assert after == before
