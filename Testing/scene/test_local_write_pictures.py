"""What Slicer's own views draw of voxels and surfaces that were written locally."""

from contextlib import closing
from typing import Any

import numpy as np
import pytest

from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
from MorseSegmentLib.refine.undo import UndoStack
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentPictures.probe import INSTALL_HINT, canRender
from MorseSegmentPictures.views import SliceView, ThreeDView

pytestmark = pytest.mark.skipif(not canRender(), reason=f"NOT TESTED: {INSTALL_HINT}")
START, STOP = (1, 2, 2), (7, 8, 10)


def written(scene: Any, result: Segmentation, shown: SceneResult, undo: UndoStack) -> None:
    """Fill half of the box with the first structure."""
    labels = np.zeros((6, 6, 8), np.uint8)
    labels[:, :, :4] = 1
    finished(
        LocalWriter(scene, shown, undo).writeInSteps(labels, result.geometry.crop(START, STOP))
    )


def differing(first: np.ndarray, second: np.ndarray) -> int:
    """Pixels that are visibly different."""
    return int((np.abs(first.astype(int) - second.astype(int)).max(axis=-1) > 20).sum())


def test_the_slice_view_follows_a_write_and_an_undo(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    with closing(SliceView("Red")) as view:
        shown, undo = SceneWriter(a_scene).show(a_result, a_volume_node), UndoStack()
        view.showVolume(a_volume_node)
        ends = [[i, j, k] for i in (0.0, 11.0) for j in (0.0, 9.0) for k in (0.0, 7.0)]
        middle = a_result.geometry.to_world(np.array([3.5, 4.5, 3.5]))  # of what is written
        view.frame(a_result.geometry.to_world(np.array(ends)), through=middle)
        before = view.pixels()
        assert before.max() > 100
        written(a_scene, a_result, shown, undo)
        assert differing(before, view.pixels()) > 1000
        undo.undo()
        assert differing(before, view.pixels()) == 0


def test_the_3d_view_follows_a_write_and_an_undo(a_scene: Any, a_result: Segmentation) -> None:
    shown, undo, writer = SceneWriter(a_scene).show(a_result), UndoStack(), SceneWriter(a_scene)
    node = a_scene.GetNodeByID(shown.refined)
    for node_id in (shown.coarse, *shown.points):
        a_scene.GetNodeByID(node_id).GetDisplayNode().SetVisibility(False)
    writer.createSurface(node)
    node.GetDisplayNode().SetOpacity3D(1.0)
    with closing(ThreeDView("1")) as view:
        view.fit()
        before = view.pixels()
        written(a_scene, a_result, shown, undo)
        after = view.pixels()
        assert differing(before, after) > 1000
        node.RemoveClosedSurfaceRepresentation()
        writer.createSurface(node)
        assert differing(after, view.pixels()) == 0, "as if Slicer had made the surfaces"
        undo.undo()
        assert differing(before, view.pixels()) == 0


def test_the_3d_view_shows_the_surfaces_that_are_made_one_by_one(
    a_scene: Any, a_result: Segmentation
) -> None:
    shown, writer = SceneWriter(a_scene).show(a_result), SceneWriter(a_scene)
    node = a_scene.GetNodeByID(shown.refined)
    for node_id in (shown.coarse, *shown.points):
        a_scene.GetNodeByID(node_id).GetDisplayNode().SetVisibility(False)
    with closing(ThreeDView("1")) as view:
        view.fit()
        empty = view.pixels()
        queue = SurfaceQueue(a_scene, later=None)
        queue.show(node)
        view.fit()
        ours = view.pixels()
        assert differing(empty, ours) > 1000
        node.RemoveClosedSurfaceRepresentation()
        writer.createSurface(node)
        assert differing(ours, view.pixels()) == 0, "as if Slicer had made the surfaces"
