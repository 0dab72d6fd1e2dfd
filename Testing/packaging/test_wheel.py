"""The wheel works by itself: in an environment without the repository, from any folder."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from repository_tree import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment that holds the wheel.

    What the wheel needs is found in the environment of the tests; the package itself is not, as
    an editable installation is only seen from its own environment.
    """
    root = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps",
         "-w", str(root), str(REPOSITORY)],
        check=True, cwd=root,
    )  # fmt: skip
    (wheel,) = root.glob("morsesegment-*.whl")
    venv.create(root / "environment", with_pip=False)
    place = sysconfig.get_paths(vars={"base": str(root / "environment")})
    programs, packages = Path(place["scripts"]), Path(place["purelib"])
    python = programs / Path(sys.executable).name
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps",
         str(wheel)],
        check=True, cwd=root,
    )  # fmt: skip
    (packages / "needed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return programs


def run(installed: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(installed / "morsesegment"), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path):
    code = "import MorseCore, MorseSegmentPictures; print(MorseCore.__file__)"
    python = installed / Path(sys.executable).name
    found = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert str(REPOSITORY) not in found


def test_an_installed_wheel_trains_segments_and_scores(installed: Path, tmp_path: Path):
    code = (
        "from pathlib import Path; from MorseCore.training.phantoms import write_phantom_dataset; "
        "write_phantom_dataset(Path('data'), cases=(3, 1, 1), shape=(16, 16, 16))"
    )
    python = installed / Path(sys.executable).name
    subprocess.run([str(python), "-c", code], cwd=tmp_path, check=True)
    config = {
        "name": "mine",
        "data": {"dataset": "data/dataset.json", "split": "data/splits.json"},
        "preparation": {"window": [16, 16, 16], "spacing": [1, 1, 1]},
        "network": {"backbone": {"name": "unet3d", "channels": [4, 8]}, "head": {"name": "plain"}},
        "optimisation": {"iterations": 20},
        "validation": {"every": 20},
        "card": {"title": "Mine", "task": "A ball and a rod.", "modality": "any",
                 "licence": "CC0", "data": "Phantoms."},
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(config))
    done = run(installed, "train", "mine.json", "device=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scan = tmp_path / "data" / "images" / "phantom_000.nii.gz"
    done = run(installed, "segment", str(scan), "--model", "runs/mine/model", "--output", "out",
               cwd=tmp_path)  # fmt: skip
    # Twenty steps need not find anything, which is said; the result is written all the same.
    assert done.returncode == 0 or "the mask is empty" in done.stderr, done.stderr
    assert (tmp_path / "out" / "phantom_000" / "report.json").is_file()
    done = run(installed, "evaluate", "--prediction", "out", "--reference", "data/labels",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0 or "phantom_001" in done.stderr, done.stderr


def test_the_demo_of_an_installed_wheel_draws_its_figure(installed: Path, tmp_path: Path):
    done = run(installed, "demo", "--output", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "figure.png").stat().st_size > 100_000
