"""The self-test where Slicer's own Python has no torch, and only the worker's has it."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from slicerqt import install

install()

from MorseSegmentLib import selftests

SCRIPT = Path(__file__).with_name("selftests_without_torch.py")
NAMES = [
    name for owner in selftests.TESTS for name in unittest.defaultTestLoader.getTestCaseNames(owner)
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each test ended, in a process of its own."""
    path = tmp_path_factory.mktemp("without-torch") / "outcomes.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path)],
        env={**os.environ, "MORSESEGMENT_PYTHON": sys.executable, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True, encoding="utf-8", errors="replace", timeout=400, check=False,
    )  # fmt: skip
    assert path.exists(), done.stderr[-4000:]
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found.pop("count") == len(NAMES)
    assert done.returncode == int(any(end != "ok" for end in found.values())), done.stderr[-4000:]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_passes(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == "ok"
