"""Runs the shipped self-test in a Python that lacks what only the worker's has.

python selftests_without_torch.py OUTCOMES: a JSON file of each test's end gets written there. The
exit code is the script's. What is missing is missing to imports only, as if it were not installed.
"""

import json
import runpy
import sys
import unittest
from pathlib import Path
from typing import Any

LACKING = {
    "torch", "monai", "safetensors", "tqdm", "filelock", "openvino", "tensorboard", "matplotlib",
    "nilearn", "nibabel",
}  # fmt: skip
MODULE = Path(__file__).parents[2] / "MorseSegment"


class WithoutSome:
    """A finder of modules that does not see some of them."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in LACKING:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def main(outcomes: Path) -> int:
    """Load the module as Slicer does, run the script, say how each test ended."""
    sys.meta_path[:] = [WithoutSome(finder) for finder in sys.meta_path]
    import slicer

    from slicerqt import install

    install()
    slicer.app.moduleManager().load(MODULE / "MorseSegment.py")
    from MorseSegmentLib import selftests

    run = selftests.runTests

    def run_and_note() -> unittest.TestResult:
        ends = {
            name: "ok"
            for owner in selftests.TESTS
            for name in unittest.defaultTestLoader.getTestCaseNames(owner)
        }
        result = run()
        for test, text in [*result.failures, *result.errors, *result.skipped]:
            ends[test.id().rpartition(".")[2]] = text
        ends["count"] = result.testsRun
        outcomes.write_text(json.dumps(ends), encoding="utf-8")
        return result

    selftests.runTests = run_and_note
    try:
        return runpy.run_path(str(MODULE / "Scripts" / "self_test.py"))["main"]()
    finally:
        slicer.app.moduleManager().unload("MorseSegment")
        assert not LACKING & set(sys.modules)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
