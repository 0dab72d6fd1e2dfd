"""Refine further with the real worker: what happens when something goes wrong in the middle.

The worker is stopped (SIGSTOP) while a question is asked, so that the middle lasts long enough.
"""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children, isAlive
from panel import close_widget, open_widget
from slicerqt import install, processEvents, waitFor

install()

from MorseCore.training.phantoms import make_phantom
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult, findResults
from MorseSegmentLib.scene.segments import referenceGeometry
from MorseSegmentLib.scene.voxels import labelsOf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="stops and looks up processes"),
]
BUTTONS = ("renderBoxButton", "renderWholeButton", "surfaceButton")


@pytest.fixture(scope="module")
def the_widget() -> Iterator[Any]:
    """One for all tests of this file: to start a worker takes seconds."""
    widget = open_widget()
    waitFor(lambda: widget.ui.modelSelector.count > 0, seconds=120)
    yield widget
    close_widget(widget)
    waitFor(lambda: not children(), seconds=5)
    assert not list(Path(slicer.app.temporaryPath).glob("morsesegment-*"))


class Segmented:
    """The panel with a segmented phantom, and a box around a part of it."""

    def __init__(self, widget: Any, scene: Any) -> None:
        self.widget, self.ui, self.scene = widget, widget.ui, scene
        self.volume = slicer.util.addVolumeFromArray(
            make_phantom(7, shape=(28, 28, 28))[0], name="Phantom"
        )
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.ui.modelSelector.currentIndex = self.ui.modelSelector.findData("phantom-tiny")
        self.ui.qualitySlider.value = 0  # the refined mask is the coarse one
        self.ui.segmentButton.click()
        waitFor(lambda: not widget.panels.segmenter.isBusy, seconds=120)
        self.box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
        self.box.SetXYZ(14, 14, 14)
        self.box.SetRadiusXYZ(6, 6, 6)
        self.ui.boxSelector.setCurrentNode(self.box)
        self.ui.refineQualitySlider.value = 6
        self.ui.scaleSelector.currentIndex = self.ui.scaleSelector.findData(2)
        processEvents()

    @property
    def shown(self) -> SceneResult:
        return self.widget.panels.state.shown

    @property
    def worker(self) -> int:
        (pid,) = children()
        return pid

    def labels(self) -> np.ndarray:
        node = self.scene.GetNodeByID(self.shown.refined)
        return labelsOf(node, referenceGeometry(node))

    def points(self) -> PointTable:
        return PointTable.read(self.scene.GetNodeByID(self.shown.pointTable))

    def press(self, button: str) -> None:
        assert getattr(self.ui, button).enabled, button
        getattr(self.ui, button).click()

    def finish(self, seconds: float = 60) -> None:
        waitFor(lambda: not self.widget.panels.refiner.isBusy, seconds=seconds)
        processEvents()

    def do(self, button: str) -> None:
        self.press(button)
        self.finish()


@pytest.fixture
def segmented(the_widget: Any, a_scene: Any) -> Segmented:
    return Segmented(the_widget, a_scene)


def nodes_of(scene: Any) -> list[str]:
    nodes = (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes()))
    return sorted(node.GetID() for node in nodes)


class Held:
    """Within the block the worker is stopped; it goes on afterwards, if it is alive."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> "Held":
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_error: object) -> None:
        if isAlive(self.pid):
            os.kill(self.pid, signal.SIGCONT)


def interrupted(segmented: Segmented, button: str, disturb: Callable[[], None]) -> list[str]:
    """The nodes before, with a question that is disturbed while it is computed."""
    before = nodes_of(segmented.scene)
    with Held(segmented.worker):
        segmented.press(button)
        processEvents()
        assert segmented.widget.panels.refiner.isBusy
        disturb()
    segmented.finish(seconds=5)
    return before


@pytest.mark.parametrize("button", BUTTONS)
def test_cancel_leaves_the_scene_as_it_was_and_the_question_can_be_asked_again(
    segmented: Segmented, button: str
) -> None:
    labels, pid = segmented.labels(), segmented.worker
    before = interrupted(segmented, button, segmented.ui.cancelRefineButton.click)
    assert nodes_of(segmented.scene) == before
    np.testing.assert_array_equal(segmented.labels(), labels)
    assert segmented.ui.refineLabel.text == "Cancelled; nothing was changed."
    assert not segmented.ui.undoButton.enabled
    if children():  # else this computer was too busy for it to listen within a second
        assert segmented.worker == pid
        segmented.do(button)
        assert segmented.ui.undoButton.enabled


def test_cancel_ends_a_worker_that_does_not_listen_within_two_seconds(
    segmented: Segmented,
) -> None:
    pid, before = segmented.worker, nodes_of(segmented.scene)
    os.kill(pid, signal.SIGSTOP)
    segmented.press("renderBoxButton")
    segmented.press("cancelRefineButton")
    segmented.finish(seconds=2.5)
    assert not children()
    assert not isAlive(pid)
    assert nodes_of(segmented.scene) == before
    assert segmented.ui.refineLabel.text == "Cancelled; nothing was changed."


@pytest.mark.parametrize("button", BUTTONS)
def test_a_scene_that_is_closed_meanwhile_stays_empty(segmented: Segmented, button: str) -> None:
    interrupted(segmented, button, lambda: segmented.scene.Clear(False))
    assert segmented.scene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode") == 0
    assert not findResults(segmented.scene)
    assert "The scene was closed" in segmented.ui.messageLabel.text
    assert not segmented.ui.undoButton.enabled
    assert len(children()) == 1, "the worker waits for the next image"


@pytest.mark.parametrize(
    ("button", "what"),
    [
        (BUTTONS[0], "refined"),
        (BUTTONS[1], "volume"),
        (BUTTONS[2], "record"),
        (BUTTONS[0], "volume"),
    ],
)
def test_a_node_that_is_removed_meanwhile_is_named_and_nothing_is_added(
    segmented: Segmented, button: str, what: str
) -> None:
    shown = segmented.shown
    node = segmented.scene.GetNodeByID(getattr(shown, what, segmented.volume.GetID()))
    removed = {node.GetID()}

    def remove() -> None:
        slicer.mrmlScene.RemoveNode(node)

    before = interrupted(segmented, button, remove)
    new = set(nodes_of(segmented.scene)) - set(before)
    assert not new
    assert removed <= set(before) - set(nodes_of(segmented.scene))
    text = segmented.ui.messageLabel.text
    assert "Phantom" in text
    assert "was removed meanwhile" in text
    assert not segmented.ui.undoButton.enabled


@pytest.mark.parametrize("button", BUTTONS)
def test_a_killed_worker_is_one_sentence_with_what_to_do(segmented: Segmented, button: str) -> None:
    pid, labels = segmented.worker, segmented.labels()
    before = interrupted(segmented, button, lambda: os.kill(pid, signal.SIGKILL))
    assert not children()
    assert nodes_of(segmented.scene) == before
    np.testing.assert_array_equal(segmented.labels(), labels)
    text = segmented.ui.messageLabel.text
    assert "was ended from outside (signal 9)" in text
    assert "press Segment to start it again" in text
    assert not segmented.ui.renderBoxButton.enabled, "the field went with the worker"
    assert not list(Path(slicer.app.temporaryPath).glob("morsesegment-*"))


def test_too_little_memory_is_one_sentence_and_the_worker_lives(segmented: Segmented) -> None:
    pid, before = segmented.worker, nodes_of(segmented.scene)
    segmented.ui.scaleSelector.currentIndex = segmented.ui.scaleSelector.findData(4)
    taken = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (taken + (1 << 20), resource.RLIM_INFINITY))
    segmented.do("renderWholeButton")
    assert "is too small for this run; choose a region of interest" in segmented.ui.refineLabel.text
    assert "Traceback" not in segmented.ui.messageLabel.text
    assert nodes_of(segmented.scene) == before
    resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
    segmented.do("renderBoxButton")
    assert "voxels were changed" in segmented.ui.refineLabel.text
    assert segmented.worker == pid


def test_a_box_is_rendered_finer_and_its_points_take_the_place_of_the_former(
    segmented: Segmented,
) -> None:
    labels, former = segmented.labels(), segmented.points()
    segmented.do("renderBoxButton")
    changed = np.argwhere(segmented.labels() != labels)[:, ::-1]
    assert f"{len(changed)} voxels were changed" in segmented.ui.refineLabel.text
    assert len(changed)
    assert (np.abs(changed - 14) <= 6).all(), "only inside of the box"
    points = segmented.points().points
    assert len(former) == 0
    assert len(points)
    assert (np.abs(points.positions - 14) <= 6.5).all()
    steps = np.diff(np.unique(points.positions[:, 0])).min()
    assert steps == pytest.approx(0.5), "the grid is twice as fine"
    np.testing.assert_allclose(points.indices, points.positions, atol=0.51)
    segmented.ui.uncertaintySlider.value = 0
    waitFor(lambda: segmented.ui.pointTable.rowCount > 0, seconds=5)
    assert f"{len(points)} points" in segmented.ui.pointLabel.text
    segmented.do("undoButton")
    np.testing.assert_array_equal(segmented.labels(), labels)
    assert len(segmented.points()) == 0
    waitFor(lambda: segmented.ui.pointTable.rowCount == 0, seconds=5)


def test_several_steps_are_taken_back_one_by_one(segmented: Segmented) -> None:
    labels, nodes = [segmented.labels()], [nodes_of(segmented.scene)]
    for button in ("renderBoxButton", "surfaceButton", "renderWholeButton"):
        segmented.do(button)
        labels.append(segmented.labels())
        nodes.append(nodes_of(segmented.scene))
    assert len({array.shape for array in labels}) == 2
    assert nodes[0] == nodes[1]
    titles = ["Whole result again", "Surface", "Re-rendered box"]
    for step, title in zip((2, 1, 0), titles, strict=True):
        assert segmented.ui.undoButton.text == f"Undo: {title}"
        segmented.do("undoButton")
        np.testing.assert_array_equal(segmented.labels(), labels[step])
        assert nodes_of(segmented.scene) == nodes[step]
        assert segmented.ui.refineLabel.text == f"Undone: {title}."
    assert not segmented.ui.undoButton.enabled
    assert segmented.ui.renderWholeButton.enabled, "the field is still there"


def test_what_was_edited_in_between_stays_and_that_is_said(segmented: Segmented) -> None:
    before = segmented.labels()
    segmented.do("renderBoxButton")
    after = segmented.labels()
    node = segmented.scene.GetNodeByID(segmented.shown.refined)
    k, j, i = np.argwhere((after != before) & (after > 0))[0]
    image = node.GetBinaryLabelmapInternalRepresentation("ball")
    extent = image.GetExtent()
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "ball")
    voxels[k - extent[4], j - extent[2], i - extent[0]] = 3 - after[k, j, i]  # ball <-> rod
    image.Modified()
    segmented.do("undoButton")
    expected = before.copy()
    expected[k, j, i] = 3 - after[k, j, i]
    np.testing.assert_array_equal(segmented.labels(), expected)
    assert "Voxels that were edited since and keep their edit: 1." in segmented.ui.refineLabel.text


def test_a_run_that_is_begun_closes_the_way_to_the_field(segmented: Segmented) -> None:
    with Held(segmented.worker):
        segmented.press("segmentButton")
        assert not segmented.ui.renderWholeButton.enabled
        segmented.press("segmentButton")  # cancels
    waitFor(lambda: not segmented.widget.panels.segmenter.isBusy, seconds=5)
    assert not segmented.ui.renderWholeButton.enabled
