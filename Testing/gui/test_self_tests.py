"""The tests that run inside Slicer, run here: the same class and script, on the stand-ins.

Slicer itself is missing here. What differs: the widgets are stand-ins, there are no views, and the
module is loaded by the stand-in for Slicer's module manager. The scene, the worker, the files and
every line of MorseSegmentLib/selftests are the real ones.
"""

import runpy
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children
from slicerqt import install, waitFor

install()

MODULE = Path(__file__).parents[2] / "MorseSegment"
SCRIPT = MODULE / "Scripts" / "self_test.py"

from MorseCore.errors import MorseError
from MorseSegmentLib import selftests  # no classes: pytest would run them too
from MorseSegmentLib.selftests import case
from MorseSegmentLib.worker import install as environment

NAMES = [
    (owner, name)
    for owner in selftests.TESTS
    for name in unittest.defaultTestLoader.getTestCaseNames(owner)
]


@pytest.fixture(scope="module")
def the_module() -> Iterator[Any]:
    """MorseSegment as Slicer loads it; one for all tests, as its worker takes seconds to start."""
    manager = slicer.app.moduleManager()
    manager.load(MODULE / "MorseSegment.py")
    yield sys.modules["MorseSegment"]
    manager.unload("MorseSegment")
    waitFor(lambda: not children(), seconds=5)


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[name for _, name in NAMES])
def test_passes(the_module: Any, owner: type[unittest.TestCase], name: str) -> None:
    result = unittest.TestResult()
    owner(name).run(result)
    assert not result.skipped
    assert result.wasSuccessful(), "\n".join(text for _, text in result.failures + result.errors)
    assert result.testsRun == 1


@pytest.mark.slow
def test_a_script_is_told_why_it_did_not_work(the_module: Any, a_scene: Any) -> None:
    volume = slicer.util.addVolumeFromArray(np.ones((8, 8, 8), np.int16), name="Scan")
    before = a_scene.GetNumberOfNodes()
    with pytest.raises(MorseError, match="no-such-model"):
        the_module.MorseSegmentLogic().segment(volume, "no-such-model")
    assert a_scene.GetNumberOfNodes() == before


class Small(unittest.TestCase):
    """Ends as it is told to."""

    __test__ = False  # pytest
    end = "pass"

    def test_it(self) -> None:
        if self.end == "skip":
            self.skipTest("NOT TESTED: this Slicer lacks torch")
        assert self.end == "pass"


@pytest.fixture
def a_small_test(monkeypatch: pytest.MonkeyPatch) -> type[Small]:
    """Instead of all others."""
    monkeypatch.setattr(selftests, "TESTS", (Small,))
    return Small


def run_script() -> int:
    return runpy.run_path(str(SCRIPT))["main"]()


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("fail", 1), ("skip", 1)])
def test_the_script_ends_with_0_only_if_every_test_was_run_and_passed(
    the_module: Any, a_small_test: type[Small], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], end: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(a_small_test, "end", end)
    assert run_script() == code
    assert ("lacks torch" in capsys.readouterr().err) == (end == "skip")


def test_the_script_says_how_slicer_finds_the_module(
    a_scene: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(slicer.modules, "morsesegment", raising=False)
    assert run_script() == 1
    assert "--additional-module-path" in capsys.readouterr().err


def test_reload_and_test_notices_a_failure(
    the_module: Any, a_small_test: type[Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    the_module.MorseSegmentTest().runTest()
    monkeypatch.setattr(a_small_test, "end", "fail")
    with pytest.raises(AssertionError, match="Self tests"):
        the_module.MorseSegmentTest().runTest()


def test_where_a_package_is_missing_the_tests_say_so(
    the_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = [environment.Requirement("torch", ">=2", "1 GB")]
    monkeypatch.setattr(case, "missing", lambda: lacking)
    owner, name = next(entry for entry in NAMES if issubclass(entry[0], case.WorkerTestCase))
    result = unittest.TestResult()
    owner(name).run(result)
    ((_, reason),) = result.skipped
    assert "needs torch" in reason


def test_an_error_in_a_slot_fails_a_test(a_scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Printing(case.SceneTestCase):
        def runTest(self) -> None:
            sys.excepthook(ValueError, ValueError("in a slot"), None)  # as PythonQt does

    result = unittest.TestResult()
    Printing().run(result)
    assert not result.wasSuccessful()
    assert "in a slot" in capsys.readouterr().err
