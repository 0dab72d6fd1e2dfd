"""What is done with a result: by scripts, by rendering a box again, by saving, by a batch."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.logic.parameters import parameterNode, readParameters
from MorseSegmentLib.scene.record import findResults, readRecord
from MorseSegmentLib.selftests.case import Panel, SceneTestCase, WorkerTestCase
from MorseSegmentLib.selftests.phantomscene import (
    MODEL,
    SEED,
    addPhantom,
    checkLabels,
    checkPlace,
    labelsOf,
    maskOf,
    sceneContent,
)

__all__ = ["AfterRunTests", "ResultTests"]

_BATCH = Path(__file__).resolve().parents[2] / "Scripts" / "segment_batch.py"


class ResultTests(SceneTestCase):
    """What scripts do with finished results."""

    def test_aResultComesAndGoes(self) -> None:
        """A cube with one rendered point is shown with its voxels and removed without a trace."""
        logic = slicer.util.getModuleLogic("MorseSegment")
        before = sceneContent()
        shown = logic.showResult(_cube())
        segmentationNode = slicer.mrmlScene.GetNodeByID(shown.refined)
        uncertaintyNode = slicer.mrmlScene.GetNodeByID(shown.uncertainty)
        voxels = maskOf(segmentationNode, "Cube", uncertaintyNode)
        np.testing.assert_array_equal(voxels, np.ones((2, 2, 2), bool))  # the cube, cut out
        logic.removeResult(shown)
        self.assertEqual(sceneContent(), before)


class AfterRunTests(WorkerTestCase):
    """What can be done with a result."""

    def test_aBoxIsRenderedAgainAndTakenBackVoxelByVoxel(self) -> None:
        """Nothing changes outside of the box, something inside; undo is exact."""
        volumeNode, _ = addPhantom()
        panel = Panel()
        panel.ui.qualitySlider.value = 0  # the refined mask is the coarse one
        shown = panel.segment(volumeNode)
        refined = slicer.mrmlScene.GetNodeByID(shown.refined)
        before = labelsOf(refined, volumeNode)
        inside = self._boxAroundHalf(panel, volumeNode)
        panel.ui.refineQualitySlider.value = 6
        panel.refine(panel.ui.renderBoxButton)
        after = labelsOf(refined, volumeNode)
        changed = before != after
        self.assertTrue(changed[inside].any())
        self.assertFalse(changed[~inside].any())
        panel.refine(panel.ui.undoButton)
        np.testing.assert_array_equal(labelsOf(refined, volumeNode), before)
        self.assertFalse(panel.ui.undoButton.enabled)

    def test_settingsAndResultSurviveSaveAndReload(self) -> None:
        """The parameter node, the masks and the panel are as they were."""
        volumeNode, labels = addPhantom()
        panel = Panel()
        panel.ui.qualitySlider.value = 2
        shown = panel.segment(volumeNode)
        panel.press(panel.ui.refinedViewButton)
        before = readParameters(parameterNode(slicer.mrmlScene))
        report = readRecord(slicer.mrmlScene, shown).report
        path = str(self.folder() / "scene.mrb")
        self.assertTrue(slicer.util.saveScene(path))
        slicer.mrmlScene.Clear()
        self.assertEqual(panel.ui.qualitySlider.value, 3)
        slicer.util.loadScene(path)
        (loaded,) = findResults(slicer.mrmlScene)
        after = readParameters(parameterNode(slicer.mrmlScene))
        nodes = {"inputVolume": after.inputVolume, "result": after.result}  # IDs may change
        self.assertEqual(after, replace(before, **nodes))
        self.assertEqual(after.result, loaded.record)
        self.assertEqual(readRecord(slicer.mrmlScene, loaded).report, report)
        self.assertEqual(panel.ui.qualitySlider.value, 2)
        self.assertTrue(panel.ui.refinedViewButton.checked)
        self.assertEqual(panel.ui.structureTable.rowCount, 2)
        volumeNode = slicer.mrmlScene.GetNodeByID(after.inputVolume)
        checkPlace(self, loaded, volumeNode)
        checkLabels(self, loaded, volumeNode, labels)

    def test_theBatchScriptWritesFilesAndASceneThatOpens(self) -> None:
        """Exit code 0, and the masks of the scene are those of the files."""
        from MorseCore.images.imageio import read_volume, write_volume
        from MorseCore.training.phantoms import make_phantom

        folder = self.folder()
        voxels, _ = make_phantom(SEED)
        image = folder / "case_01.nii.gz"
        write_volume(image, voxels, Geometry(voxels.shape, np.eye(4)))
        case = folder / "out" / "case_01"
        main = runpy.run_path(str(_BATCH))["main"]
        words = ["--input", image, "--output", case.parent, "--model", MODEL, "--device", "cpu"]
        self.assertEqual(main([*map(str, words), "--scene"]), 0)
        self.assertEqual(findResults(slicer.mrmlScene), [], "the script leaves the scene empty")
        slicer.util.loadScene(str(case / "scene.mrb"))
        (shown,) = findResults(slicer.mrmlScene)
        node = slicer.mrmlScene.GetNodeByID(readRecord(slicer.mrmlScene, shown).input)
        labels = labelsOf(slicer.mrmlScene.GetNodeByID(shown.refined), node)
        written = read_volume(case / "refined.nii.gz").array
        np.testing.assert_array_equal(labels, written.astype(np.uint8))
        self.assertTrue(labels.any())

    @staticmethod
    def _boxAroundHalf(panel: Panel, volumeNode: Any) -> np.ndarray:
        """A box as *Refine further* wants it, and (K, J, I) bool of the voxels that it touches."""
        bounds = np.zeros(6)
        volumeNode.GetRASBounds(bounds)
        low, high = bounds[::2], bounds[1::2]
        middle = (low + high) / 2
        box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
        box.SetXYZ(middle[0], middle[1], (low[2] + middle[2]) / 2)
        box.SetRadiusXYZ(*((high - low) / 2 * (1, 1, 0.5)))
        panel.ui.boxSelector.setCurrentNode(box)
        inside = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, bool)
        inside[: len(inside) // 2 + 1] = True
        return inside


def _cube() -> Segmentation:
    masks = np.zeros((4, 5, 6), np.uint8)
    masks[1:3, 1:3, 1:3] = 1
    one, half = np.ones(1, np.int32), np.full(1, 0.5, np.float32)
    points = RenderedPoints(np.ones((1, 3)), np.ones((1, 3), np.int32), half, one, one, half, half)
    structures = (Structure(1, "Cube", (0.9, 0.4, 0.2)),)
    uncertainty = masks.astype(np.float32)
    return Segmentation(
        Geometry(masks.shape, np.eye(4)), structures, masks, masks, uncertainty, points
    )
