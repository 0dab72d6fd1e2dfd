"""Configure and install the extension as Slicer's build would, against a stand-in for Slicer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository_tree import REPOSITORY, source_files

CMAKE = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CMAKE is None, reason="NOT TESTED: there is no cmake; pip install cmake"),
]


@pytest.fixture(scope="module")
def an_installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The qt-scripted-modules folder of an installed extension."""
    work = tmp_path_factory.mktemp("installation")
    dummy = Path(__file__).parent / "dummy_slicer"
    configure = ["-S", REPOSITORY, "-B", work / "build", f"-DSlicer_DIR={dummy}"]
    for step in (configure, ["--install", work / "build", "--prefix", work / "installed"]):
        run = subprocess.run(
            [str(CMAKE), *map(str, step)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert run.returncode == 0, run.stdout + run.stderr
    return work / "installed" / "lib" / "Slicer-5.12" / "qt-scripted-modules"


def test_everything_the_module_needs_is_installed(an_installation: Path) -> None:
    installed = source_files(an_installation)
    expected = {f"MorseCore/{path}" for path in source_files(REPOSITORY / "MorseCore")}
    expected |= {
        path
        for path in source_files(REPOSITORY / "MorseSegment")
        if not path.startswith("MorseSegmentPictures/")
    }
    assert installed == expected


def test_the_installed_files_find_each_other(an_installation: Path) -> None:
    pytest.importorskip("slicer", reason="NOT TESTED: pip install slicer-core==5.12.4.0")
    code = (
        "import MorseSegmentLib.scene.result as s, MorseCore; print(s.__file__, MorseCore.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(an_installation)},
        cwd=an_installation.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert run.returncode == 0, run.stderr
    assert all(path.startswith(str(an_installation)) for path in run.stdout.split())
