"""A result as nodes of the scene, without a worker."""

import numpy as np
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.selftests.case import SceneTestCase
from MorseSegmentLib.selftests.phantomscene import maskOf, sceneContent

__all__ = ["ResultTests"]


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
        np.testing.assert_array_equal(voxels, _cube().refined > 0)
        logic.removeResult(shown)
        self.assertEqual(sceneContent(), before)


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
