"""What all tests inside Slicer begin and end with."""

import sys
import tempfile
import traceback
import unittest
from pathlib import Path
from typing import Any

import slicer

from MorseSegmentLib.worker.install import missing

__all__ = ["SceneTestCase", "WorkerTestCase"]


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
