"""A volume that is a frame of a sequence: the current frame, or all of them."""

from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children, isAlive
from panel import choose, nodes, wait_until_idle
from slicerqt import install, processEvents, waitFor

install()

from MorseSegmentLib.scene.record import SceneResult, findResults
from MorseSegmentLib.scene.voxels import labelsOf


@pytest.fixture
def a_browser(a_scene: Any) -> Any:
    """Of three frames; the bright cube is one slice higher in each."""
    frame = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Heart")
    sequence = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Heart sequence")
    sequence.SetIndexUnit("s")
    for number in range(3):
        voxels = np.zeros((8, 9, 10), np.int16)
        voxels[2 + number : 5 + number, 3:6, 4:7] = 100
        voxels[2 + number, 3, 4] = 110
        slicer.util.updateVolumeFromArray(frame, voxels)
        sequence.SetDataNodeAtValue(frame, f"{number / 2}")
    a_scene.RemoveNode(frame)
    browser = a_scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.AddSynchronizedSequenceNode(sequence)
    return browser


@pytest.fixture
def a_frame(a_browser: Any) -> Any:
    """The volume node that shows the frame that is selected."""
    return a_browser.GetProxyNode(a_browser.GetMasterSequenceNode())


def press_segment(widget: Any, volume: Any, model: str, *, frames: str = "all") -> None:
    ui = widget.ui
    choose(widget, volume, model)
    assert not ui.framesSelector.isHidden()
    ui.framesSelector.currentIndex = ui.framesSelector.findData(frames)
    ui.segmentButton.click()


def lowest_slice(scene: Any, shown: SceneResult) -> int:
    """Of the refined mask that is seen."""
    from MorseSegmentLib.scene.segments import referenceGeometry

    node = scene.GetNodeByID(shown.refined)
    labels = labelsOf(node, referenceGeometry(node))
    return int(np.flatnonzero(labels.any(axis=(1, 2)))[0])


def test_frames_are_offered_for_a_sequence_only(a_widget: Any, a_frame: Any) -> None:
    selector = a_widget.ui.framesSelector
    plain = slicer.util.addVolumeFromArray(np.ones((3, 3, 3), np.int16), name="Plain")
    a_widget.ui.volumeSelector.setCurrentNode(plain)
    assert selector.isHidden()
    assert a_widget.ui.framesLabel.isHidden()
    assert selector.count == 1
    a_widget.ui.volumeSelector.setCurrentNode(a_frame)
    assert not selector.isHidden()
    assert not a_widget.ui.framesLabel.isHidden()
    assert selector.itemText(1) == "All 3 frames"
    assert selector.currentIndex == 0


def test_the_current_frame_alone_is_an_ordinary_result(
    a_widget: Any, a_frame: Any, a_scene: Any, a_browser: Any
) -> None:
    a_browser.SetSelectedItemNumber(1)
    press_segment(a_widget, a_frame, "quick", frames="current")
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    assert lowest_slice(a_scene, shown) == 3
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1


def test_all_frames_are_segmented_and_move_with_the_browser(
    a_widget: Any, a_frame: Any, a_scene: Any, a_browser: Any
) -> None:
    press_segment(a_widget, a_frame, "quick")
    stages: set[str] = set()
    waitFor(
        lambda: stages.add(a_widget.ui.stageLabel.text) or not a_widget.panels.segmenter.isBusy,
        seconds=30,
    )
    processEvents()
    assert any("Frame 2 of 3" in stage for stage in stages)
    assert "Frame 3 of 3 (1.0 s) is done." in a_widget.ui.logEdit.plainText
    (shown,) = findResults(a_scene)
    for number in (0, 2, 1):
        a_browser.SetSelectedItemNumber(number)
        assert lowest_slice(a_scene, shown) == 2 + number


def test_points_and_table_are_those_of_the_frame_that_is_seen(
    a_widget: Any, a_frame: Any, a_scene: Any, a_browser: Any
) -> None:
    press_segment(a_widget, a_frame, "quick")
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    ui, markups = a_widget.ui, a_scene.GetNodeByID(shown.points[4])
    axial = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    axial.SetOrientation("Axial")
    for number in (2, 1):
        ui.nextPointButton.click()
        assert "Point 1:" in ui.pointLabel.text
        a_browser.SetSelectedItemNumber(number)
        assert markups.GetNthControlPointPosition(0)[2] == 2 + number
        waitFor(lambda: "1 points are shown" in ui.pointLabel.text, seconds=5)
        ui.nextPointButton.click()
        assert axial.GetSliceOffset() == pytest.approx(2 + number)


def test_cancel_during_the_second_frame_adds_nothing(
    a_widget: Any, a_frame: Any, a_scene: Any
) -> None:
    before = nodes(a_scene)
    press_segment(a_widget, a_frame, "slow from the second")
    waitFor(lambda: a_widget.panels.segmenter.frame == (2, 3), seconds=30)
    waitFor(lambda: len(children()) == 1, seconds=5)
    (pid,) = children()
    a_widget.ui.segmentButton.click()
    wait_until_idle(a_widget)
    assert not isAlive(pid)
    assert nodes(a_scene) == before
    assert a_widget.ui.segmentButton.text == "Segment"


def test_cancel_between_two_frames_adds_nothing(
    a_widget: Any, a_frame: Any, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = nodes(a_scene)
    segmenter = a_widget.panels.segmenter
    between: list[Any] = []
    later = segmenter._later

    def wait(step: Any) -> None:
        run = segmenter._run
        if run is not None and run.task is None:
            between.append(step)
        else:
            later(step)

    monkeypatch.setattr(segmenter, "_later", wait)
    press_segment(a_widget, a_frame, "quick")
    waitFor(lambda: bool(between), seconds=30)
    a_widget.ui.segmentButton.click()
    between[0]()
    wait_until_idle(a_widget)
    assert nodes(a_scene) == before
    assert "Cancelled" in a_widget.ui.messageLabel.text


def test_a_frame_that_fails_is_named_and_nothing_is_added(
    a_widget: Any, a_frame: Any, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda *_, **__: None)
    before = nodes(a_scene)
    press_segment(a_widget, a_frame, "refuses the second")
    wait_until_idle(a_widget)
    assert "Frame 2 of 3 (0.5 s): Too dark." in a_widget.ui.messageLabel.text
    assert nodes(a_scene) == before


@pytest.mark.parametrize(
    ("gone", "word"),
    [("volume", "removed"), ("sequence", "removed"), ("browser", "removed"), ("scene", "closed")],
)
def test_a_run_ends_if_what_it_needs_goes_between_frames(
    a_widget: Any, a_frame: Any, a_scene: Any, a_browser: Any, gone: str, word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda *_, **__: None)
    press_segment(a_widget, a_frame, "slow from the second")
    waitFor(lambda: a_widget.panels.segmenter.frame == (2, 3), seconds=30)
    sequence = a_browser.GetMasterSequenceNode()
    if gone == "scene":
        a_scene.Clear(False)
    else:
        a_scene.RemoveNode({"volume": a_frame, "sequence": sequence, "browser": a_browser}[gone])
    processEvents()
    assert not a_widget.panels.segmenter.isBusy
    assert not children()
    assert not findResults(a_scene)
    assert word in a_widget.ui.messageLabel.text
