"""The batch script in a process of its own: exit codes, files, scenes that open again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume, write_volume
from MorseCore.metrics.scores import overlap
from MorseCore.store.library import BUILT_IN
from MorseCore.store.model_folder import INFO
from MorseCore.training.phantoms import make_phantom

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "MorseSegment" / "Scripts" / "segment_batch.py"
RUNNER = Path(__file__).with_name("slicer_process.py")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUNNER), str(SCRIPT), *map(str, arguments)]
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "MorseSegment")))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
    )


@pytest.fixture
def an_image(tmp_path: Path) -> Path:
    """A phantom that the model for tests was trained for."""
    voxels, _ = make_phantom(7)
    path = tmp_path / "images" / "case_01.nii.gz"
    path.parent.mkdir()
    write_volume(path, voxels, Geometry((28, 28, 28), np.eye(4)))
    return path


def test_a_case_is_segmented_and_its_scene_opens_again(
    a_scene: Any, an_image: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = run("--", "--input", an_image, "--output", output, "--model", "phantom-tiny", "--scene")
    assert done.returncode == 0, done.stderr
    assert (output / "case_01" / "refined.nii.gz").is_file()
    assert not list((output / "case_01").glob("*unfinished*"))
    assert a_scene.ReadFromMRB(str(output / "case_01" / "scene.mrb"))
    image = a_scene.GetFirstNodeByName("case_01")
    node = a_scene.GetFirstNodeByName("case_01 refined")
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, "ball", image) > 0
    written = read_volume(output / "case_01" / "refined.nii.gz").array == 1
    np.testing.assert_array_equal(found, written)
    assert overlap(found, make_phantom(7)[1] == 1)[0] > 0.9


def test_a_region_limits_the_batch(an_image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run(
        "--", "--input", an_image, "--output", output, "--model", "phantom-tiny",
        "--roi=ijk:0,28,0,28,14,28",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refined = read_volume(output / "case_01" / "refined.nii.gz").array
    assert not refined[:14].any()
    assert refined[14:].any()


@pytest.mark.slow
def test_a_finished_case_gets_its_missing_scene(an_image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ("--input", an_image, "--output", output, "--model", "phantom-tiny")
    assert run(*arguments).returncode == 0
    assert not (output / "case_01" / "scene.mrb").exists()
    again = run(*arguments, "--scene")
    assert again.returncode == 0
    assert "already done" in again.stderr
    assert (output / "case_01" / "scene.mrb").is_file(), again.stderr


@pytest.mark.slow
def test_one_bad_case_gives_code_1_and_does_not_stop_the_others(
    an_image: Path, tmp_path: Path
) -> None:
    dark = an_image.with_name("case_00.nii.gz")
    write_volume(dark, np.zeros((9, 9, 9), np.float32), Geometry((9, 9, 9), np.eye(4)))
    output = tmp_path / "out"
    done = run("--input", an_image.parent, "--output", output, "--model", "phantom-tiny", "--scene")
    assert done.returncode == 1, done.stderr
    assert "case_00.nii.gz: every voxel has the value 0" in done.stderr
    assert (output / "case_01" / "scene.mrb").is_file(), done.stderr
    assert not (output / "case_00" / "scene.mrb").exists()


def test_an_implausible_result_fails_where_strict_and_is_kept(
    an_image: Path, tmp_path: Path
) -> None:
    model = tmp_path / "hard-to-please"
    shutil.copytree(BUILT_IN / "phantom-tiny", model)
    limits = {
        "signal": "volume", "structure": "ball", "typical": 100.0,
        "check": [90.0, 110.0], "implausible": [45.0, 220.0],
    }  # fmt: skip
    info = json.loads((model / INFO).read_text(encoding="utf-8"))
    info |= {"verdict": {"thresholds": [limits]}, "format": 2, "name": model.name}
    (model / INFO).write_text(json.dumps(info), encoding="utf-8")
    output = tmp_path / "out"
    done = run("--input", an_image, "--output", output, "--model", model, "--strict")
    assert done.returncode == 1, done.stderr
    assert "implausible: The volume of ball is" in done.stderr
    assert (output / "case_01" / "refined.nii.gz").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--output", "out", "--model", "phantom-tiny"], 2, "required: --input"),
        (
            [
                "--input",
                "none.nii.gz",
                "--output",
                "out",
                "--model",
                "phantom-tiny",
                "--format",
                "x",
            ],
            2,
            "x",
        ),
        (["--help"], 0, ""),
    ],
    ids=["no input", "unknown format", "help"],
)
def test_wrong_usage_ends_with_code_2(
    arguments: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=tmp_path,
    )
    assert done.returncode == code
    assert sentence in done.stderr


def test_an_unexpected_error_ends_with_code_1_and_one_sentence(
    an_image: Path, tmp_path: Path
) -> None:
    code = (
        "import runpy, sys; sys.modules['MorseCore.commands.batch'] = None; "
        f"sys.argv = ['x', '--input', 'a', '--output', 'b', '--model', 'c']; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(
        "error: This Slicer lacks the Python package 'MorseCore.commands.batch'"
    )
