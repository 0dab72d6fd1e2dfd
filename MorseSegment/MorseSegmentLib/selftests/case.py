"""What all tests inside Slicer share: how they begin and end, and the panel, pressed and read."""

import os
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from MorseSegmentLib.scene.record import SceneResult, findResults
from MorseSegmentLib.selftests.phantomscene import MODEL
from MorseSegmentLib.worker.install import missing
from MorseSegmentLib.worker.launch import NO_WINDOW, workerCommand

__all__ = ["Panel", "SceneTestCase", "WorkerTestCase", "segmentFile", "waitFor"]

_START = 180.0  # seconds; a worker imports torch, from a cold disk
_RUN = 120.0


class SceneTestCase(unittest.TestCase):
    """Starts and ends with an empty scene; an error in a slot fails the test."""

    def setUp(self) -> None:
        """Close the scene, now and afterwards."""
        super().setUp()
        self._listenForErrors()
        slicer.mrmlScene.Clear()
        self.addCleanup(slicer.mrmlScene.Clear)

    def _listenForErrors(self) -> None:
        # Qt's signals come from C++, where an exception of a slot ends: it is only printed.
        errors: list[str] = []
        show = sys.excepthook

        def record(*error: Any) -> None:
            errors.append("".join(traceback.format_exception(*error)))
            show(*error)

        self.addCleanup(lambda: self.assertEqual(errors, []))
        self.addCleanup(setattr, sys, "excepthook", show)
        sys.excepthook = record

    def folder(self) -> Path:
        """A temporary folder that goes with the test."""
        folder = tempfile.TemporaryDirectory(dir=slicer.app.temporaryPath)
        self.addCleanup(folder.cleanup)
        return Path(folder.name)


class WorkerTestCase(SceneTestCase):
    """Skipped, with the reason, where the worker could not compute."""

    def setUp(self) -> None:
        """Make sure that what the worker imports is there."""
        super().setUp()
        names = ", ".join(f"{package.name} {package.versions}" for package in missing())
        if names:
            self.skipTest(f"NOT TESTED: this Slicer needs {names}; press Install in the module.")


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


def segmentFile(image: Path, output: Path) -> None:
    """Segment a file on the CPU as the command line does, in the Python that the worker has.

    Slicer's own may lack torch. Slicer waits meanwhile.

    :param output: gets a folder for the image.
    :raises AssertionError: if the command fails.
    """
    worker = workerCommand()
    words = ["segment", str(image), "--model", MODEL, "--device", "cpu", "--output", str(output)]
    done = subprocess.run(
        [worker.program, *worker.arguments, *words],
        env={k: v for k, v in os.environ.items() if k not in worker.without_variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_START + _RUN,
        creationflags=NO_WINDOW,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"The command ended with {done.returncode}. {done.stderr}")


class Panel:
    """The panel with its worker running, in front, used as a person would.

    Example::

        panel = Panel()
        shown = panel.segment(volumeNode)
        panel.press(panel.ui.undoButton)
    """

    def __init__(self) -> None:
        self.widget = slicer.util.getModuleWidget("MorseSegment")
        self.widget.enter()
        self.ui, self.panels = self.widget.ui, self.widget.panels
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
            raise AssertionError(f"{button.objectName} is disabled. {self.ui.reasonLabel.text}")
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
        waitFor(lambda: not self.panels.segmenter.isBusy, _RUN, "The result")
        results = findResults(slicer.mrmlScene)
        if len(results) != before + 1:
            raise AssertionError(f"There is no result. {self.ui.messageLabel.text}")
        return results[-1]

    def refine(self, button: Any) -> None:
        """Press a button of *Refine further* and wait for the answer."""
        self.press(button)
        waitFor(lambda: not self.panels.refiner.isBusy, _RUN, "The answer of the worker")
        slicer.app.processEvents()
