"""What interrupts a run and what does not, and that nothing is left behind."""

from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children, isAlive
from panel import nodes, press_segment, wait_until_idle
from slicerqt import install, processEvents, waitFor

install()

from MorseSegmentLib.scene.record import findResults
from panel_fixtures import a_volume

__all__ = ["a_volume"]  # fixtures


def worker_of(widget: Any) -> int:
    """The process that computes, once it says so."""
    waitFor(lambda: bool(widget.ui.logEdit.plainText), seconds=30)
    return int(widget.ui.logEdit.plainText.splitlines()[0])


@pytest.mark.parametrize("model", ["slow", "deaf"])
def test_cancel_leaves_no_process_and_no_node(
    a_widget: Any, a_volume: Any, a_scene: Any, model: str
) -> None:
    before = nodes(a_scene)
    press_segment(a_widget, a_volume, model)
    pid = worker_of(a_widget)
    a_widget.ui.segmentButton.click()
    assert not a_widget.ui.segmentButton.enabled
    wait_until_idle(a_widget)
    assert not isAlive(pid)
    assert not children()
    assert nodes(a_scene) == before
    assert (
        "Cancelled" in a_widget.ui.messageLabel.text or "Stopped" in a_widget.ui.messageLabel.text
    )
    assert a_widget.ui.segmentButton.enabled
    assert a_widget.ui.segmentButton.text == "Segment"


def test_after_a_cancel_the_next_run_works(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    press_segment(a_widget, a_volume, "slow")
    worker_of(a_widget)
    a_widget.ui.segmentButton.click()
    wait_until_idle(a_widget)
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert len(findResults(a_scene)) == 1


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("dies", "exit code 3"),
        ("out of memory", "signal 9"),
        ("refuses", "Too dark"),
    ],
)
def test_an_error_is_one_sentence_and_the_scene_is_as_it_was(
    a_widget: Any, a_volume: Any, a_scene: Any, model: str, word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dialogs: list[tuple[str, str]] = []
    monkeypatch.setattr(
        slicer.util,
        "errorDisplay",
        lambda text, detailedText="": dialogs.append((text, detailedText)),
    )
    before = nodes(a_scene)
    press_segment(a_widget, a_volume, model)
    wait_until_idle(a_widget)
    waitFor(lambda: bool(dialogs), seconds=5)
    assert word in a_widget.ui.messageLabel.text
    assert "Traceback" not in a_widget.ui.messageLabel.text
    assert [text for text, _ in dialogs] == [a_widget.ui.messageLabel.text]
    assert dialogs[0][1]
    assert nodes(a_scene) == before
    assert a_widget.ui.segmentButton.text == "Segment"


def test_a_refusal_can_be_overruled_for_one_run(
    a_widget: Any, a_volume: Any, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogs: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: dialogs.append(text))
    ui = a_widget.ui
    press_segment(a_widget, a_volume, "doubts")
    wait_until_idle(a_widget)
    assert ui.messageLabel.text == "Too flat."
    assert not ui.acceptButton.isHidden()
    ui.acceptButton.click()
    assert ui.acceptButton.isHidden()
    wait_until_idle(a_widget)
    assert len(findResults(a_scene)) == 1
    ui.segmentButton.click()
    wait_until_idle(a_widget)
    assert ui.messageLabel.text == "Too flat.", "it was overruled for that run only"
    assert len(findResults(a_scene)) == 1
    assert not dialogs


def test_what_was_refused_is_not_overruled_for_something_else(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    press_segment(a_widget, a_volume, "doubts")
    wait_until_idle(a_widget)
    assert not a_widget.ui.acceptButton.isHidden()
    other = slicer.util.addVolumeFromArray(np.ones((3, 3, 3), np.int16), name="Other")
    a_widget.ui.volumeSelector.setCurrentNode(other)
    assert a_widget.ui.acceptButton.isHidden()


def test_removing_the_volume_during_a_run_ends_it_without_a_dialog(
    a_widget: Any, a_volume: Any, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogs: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: dialogs.append(text))
    other = slicer.util.addVolumeFromArray(np.ones((3, 3, 3), np.int16), name="Other")
    press_segment(a_widget, a_volume, "slow")
    pid = worker_of(a_widget)
    a_scene.RemoveNode(a_volume)
    processEvents()
    assert not a_widget.panels.segmenter.isBusy
    assert not isAlive(pid)
    assert "removed" in a_widget.ui.messageLabel.text
    assert not dialogs, "a person did it just now"
    assert not findResults(a_scene)
    assert a_widget.ui.volumeSelector.currentNode() is None, "nobody chose the other volume"
    assert other is not None


def test_closing_the_scene_during_a_run_ends_it(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    press_segment(a_widget, a_volume, "slow")
    pid = worker_of(a_widget)
    a_scene.Clear(False)
    processEvents()
    assert not a_widget.panels.segmenter.isBusy
    assert not isAlive(pid)
    assert "closed" in a_widget.ui.messageLabel.text
    assert not nodes(a_scene) & {"vtkMRMLSegmentationNode1"}
    assert not a_widget.ui.segmentButton.enabled


def test_leaving_the_module_during_a_run_does_not_end_it(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    press_segment(a_widget, a_volume, "quick")
    a_widget.exit()
    wait_until_idle(a_widget)
    assert len(findResults(a_scene)) == 1
