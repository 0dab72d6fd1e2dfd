"""Runs: from a file to the scene, oblique, under a transform, by a script, cancelled."""

import numpy as np
import slicer

from MorseCore.geometry import Geometry
from MorseSegmentLib.scene.record import findResults
from MorseSegmentLib.selftests.case import Panel, WorkerTestCase, segmentFile, waitFor
from MorseSegmentLib.selftests.phantomscene import (
    MODEL,
    addPhantom,
    checkLabels,
    checkPlace,
    labelsOf,
    linearTransform,
    obliqueMatrix,
    sceneContent,
)

__all__ = ["RunTests"]

_LONG_RUN = (160, 160, 160)  # (K, J, I); some ten seconds for the small network on a CPU
_CANCEL = 2.0  # seconds that *Cancel* may take


class RunTests(WorkerTestCase):
    """What *Segment* does with volumes of all kinds."""

    def test_aFileIsLoadedAndSegmentedByTheButton(self) -> None:
        """Masks, uncertainty and points stand where the phantom's structures are."""
        from MorseCore.images.imageio import write_volume
        from MorseCore.training.phantoms import make_phantom

        voxels, labels = make_phantom(3)
        path = self.folder() / "phantom.nii.gz"
        write_volume(path, voxels, Geometry(voxels.shape, np.eye(4)))
        volumeNode = slicer.util.loadVolume(str(path))
        np.testing.assert_allclose(slicer.util.arrayFromVolume(volumeNode), voxels, atol=1e-5)
        panel = Panel()
        shown = panel.segment(volumeNode)
        checkPlace(self, shown, volumeNode)
        checkLabels(self, shown, volumeNode, labels)
        self.assertEqual(panel.ui.structureTable.rowCount, 2)
        self.assertEqual(panel.ui.segmentButton.text, "Segment")

    def test_anObliqueVolumeIsSegmentedOnItsOwnGrid(self) -> None:
        """The masks are those that the library finds in a file of these voxels in this place."""
        from MorseCore.images.imageio import read_volume, write_volume

        volumeNode, _ = addPhantom(obliqueMatrix())
        voxels, folder = slicer.util.arrayFromVolume(volumeNode), self.folder()
        image = folder / "phantom.nrrd"  # keeps every digit of the place
        write_volume(image, voxels, Geometry(voxels.shape, obliqueMatrix()))
        segmentFile(image, folder / "out")
        shown = Panel().segment(volumeNode)
        checkPlace(self, shown, volumeNode, onCentres=False)
        for nodeID, name in ((shown.coarse, "coarse"), (shown.refined, "refined")):
            found = labelsOf(slicer.mrmlScene.GetNodeByID(nodeID), volumeNode)
            expected = read_volume(folder / "out" / "phantom" / f"{name}.nii.gz").array
            np.testing.assert_array_equal(found, expected)
            self.assertEqual(set(np.unique(found)), {0, 1, 2})

    def test_theResultStandsUnderTheTransformOfItsVolume(self) -> None:
        """In the world, every point lies on a voxel of the transformed volume."""
        volumeNode, labels = addPhantom()
        transform = linearTransform()
        volumeNode.SetAndObserveTransformNodeID(transform.GetID())
        shown = Panel().segment(volumeNode)
        checkPlace(self, shown, volumeNode)
        checkLabels(self, shown, volumeNode, labels)
        points = slicer.mrmlScene.GetNodeByID(shown.points[-1])
        self.assertGreater(points.GetNumberOfControlPoints(), 0)
        world = slicer.util.arrayFromMarkupsControlPoints(points, world=True)
        index = (np.c_[world, np.ones(len(world))] @ np.linalg.inv(obliqueMatrix()).T)[:, :3]
        self.assertLess(np.abs(index - index.round()).max(), 1e-3)

    def test_aScriptSegmentsInOneCall(self) -> None:
        """The logic does it without the panel, and takes the result out again."""
        volumeNode, labels = addPhantom()
        before = sceneContent()
        logic = slicer.util.getModuleLogic("MorseSegment")
        shown = logic.segment(volumeNode, MODEL, device="cpu")
        checkPlace(self, shown, volumeNode)
        checkLabels(self, shown, volumeNode, labels)
        logic.removeResult(shown)
        self.assertEqual(sceneContent(), before)

    def test_cancelEndsTheWorkerWithinTwoSecondsAndLeavesTheScene(self) -> None:
        """No node is added, no process is left, and the next run works."""
        voxels = np.random.default_rng(0).random(_LONG_RUN, dtype=np.float32)
        volumeNode = slicer.util.addVolumeFromArray(voxels, name="Noise")
        panel = Panel()
        before = sceneContent()
        panel.start(volumeNode)
        waitFor(lambda: panel.ui.runProgressBar.value > 0, 120.0, "Progress")
        panel.press(panel.ui.segmentButton)
        took = waitFor(lambda: not panel.panels.segmenter.isBusy, 10.0, "The end after Cancel")
        self.assertLess(took, _CANCEL)
        self.assertFalse(panel.panels.runner.isRunning())
        self.assertEqual(sceneContent(), before)
        self.assertEqual(findResults(slicer.mrmlScene), [])
        again, labels = addPhantom()
        checkLabels(self, panel.segment(again), again, labels)
