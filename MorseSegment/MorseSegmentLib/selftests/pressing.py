"""The module's panel, pressed and read as a person would; Slicer's events go on meanwhile."""

import time
from collections.abc import Callable
from typing import Any

import slicer

from MorseSegmentLib.scene.record import SceneResult, findResults
from MorseSegmentLib.selftests.phantomscene import MODEL

__all__ = ["Panel", "waitFor"]

_START = 180.0  # seconds; a worker imports torch, from a cold disk
_RUN = 120.0


def waitFor(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Let Slicer go on until the condition holds; returns the seconds it took.

    :raises AssertionError: if it does not come true in time.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"{what}: not within {seconds:g} s.")
        slicer.app.processEvents()
        time.sleep(0.005)
    return time.monotonic() - start


class Panel:
    """The panel with its worker running, in front.

    Example::

        panel = Panel()
        shown = panel.segment(volumeNode)
        panel.press(panel.ui.undoButton)
    """

    def __init__(self) -> None:
        self.widget = slicer.util.getModuleWidget("MorseSegment")
        self.widget.enter()
        self.ui, self.board = self.widget.ui, self.widget.board
        waitFor(lambda: self.ui.modelSelector.findData(MODEL) >= 0, _START, "The models' names")

    def choose(self, combo: Any, data: Any) -> None:
        """Choose the entry of a combo box that holds ``data``."""
        row = combo.findData(data)
        if row < 0:
            raise AssertionError(f"{combo.objectName} does not offer '{data}'.")
        combo.currentIndex = row

    def press(self, button: Any) -> None:
        """Click a button, which has to be enabled."""
        if not button.enabled:
            raise AssertionError(f"{button.objectName} is disabled. {button.toolTip}")
        button.click()
        slicer.app.processEvents()

    def start(self, volumeNode: Any) -> None:
        """Press *Segment*; on the CPU, so that every machine computes the same."""
        self.ui.volumeSelector.setCurrentNode(volumeNode)
        self.choose(self.ui.modelSelector, MODEL)
        self.choose(self.ui.deviceSelector, "cpu")
        self.press(self.ui.segmentButton)

    def segment(self, volumeNode: Any) -> SceneResult:
        """Press *Segment* and wait for the result."""
        before = len(findResults(slicer.mrmlScene))
        self.start(volumeNode)
        waitFor(lambda: not self.board.segmenter.isBusy, _RUN, "The result")
        results = findResults(slicer.mrmlScene)
        if len(results) != before + 1:
            raise AssertionError(f"There is no result. {self.ui.messageLabel.text}")
        return results[-1]

    def refine(self, button: Any) -> None:
        """Press a button of *Refine further* and wait for the answer."""
        self.press(button)
        waitFor(lambda: not self.board.refiner.isBusy, _RUN, "The answer of the worker")
        slicer.app.processEvents()
