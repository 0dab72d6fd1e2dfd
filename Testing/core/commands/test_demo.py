"""The demo: the head that comes along, both shipped models, the figures."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from MorseCore.commands import demo_figure, demo_run
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.inference.files import read_result
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentPictures.probe import INSTALL_HINT, canRender

pytest.importorskip("matplotlib", reason="the demo's figure needs matplotlib: install '.[demo]'")

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert demo_run.run_demo(folder) == 0
    return folder


def test_the_demo_finds_two_hippocampi_of_plausible_volume(demo_folder):
    report = json.loads((demo_folder / "result" / "report.json").read_text(encoding="utf-8"))
    total = report["sides"][-1]
    assert 2.0 < total["left_ml"] < 5.5
    assert 2.0 < total["right_ml"] < 5.5
    assert abs(total["asymmetry"]) < 0.2


def test_the_demo_segments_the_whole_brain_too(demo_folder):
    result = read_result(demo_folder / "brain")
    assert len(result.structures) == 32
    assert len(np.unique(result.refined)) >= 32
    ml = (result.refined > 0).sum() * result.geometry.voxel_volume / 1000
    assert 1000 < ml < 2200


def test_the_hippocampi_lie_on_their_sides_and_mirror_each_other(demo_folder):
    result = read_result(demo_folder / "result")
    places = {}
    for side in ("left", "right"):
        values = [s.value for s in result.structures if s.side == side]
        index = np.argwhere(np.isin(result.refined, values))[:, ::-1]
        places[side] = result.geometry.to_world(index).mean(0)
    assert places["left"][0] < 0 < places["right"][0]
    np.testing.assert_allclose(places["left"] * (-1, 1, 1), places["right"], atol=8)


def test_the_anterior_part_lies_before_the_posterior_part(demo_folder):
    result = read_result(demo_folder / "result")
    middle = {
        s.name: result.geometry.to_world(np.argwhere(result.refined == s.value)[:, ::-1]).mean(0)[1]
        for s in result.structures
    }
    for side in ("Left", "Right"):
        assert middle[f"{side} anterior hippocampus"] > middle[f"{side} posterior hippocampus"] + 8


def test_the_demo_leaves_a_figure_and_all_result_files(demo_folder):
    import matplotlib.pyplot as plt

    figure = plt.imread(demo_folder / "figure.png")
    assert figure.shape[0] > 300
    assert figure.shape[1] > 900
    assert figure[..., :3].std() > 0.1
    assert (demo_folder / "brain.png").stat().st_size > 50_000
    names = {p.name for p in (demo_folder / "result").iterdir()}
    assert names == {
        "coarse.nii.gz", "refined.nii.gz", "uncertainty.nii.gz", "points.csv", "points.mrk.json",
        "report.json",
    }  # fmt: skip


def test_the_figure_shows_slicers_own_views_where_they_can_be_drawn(demo_folder):
    if not canRender():
        pytest.skip(f"NOT TESTED: {INSTALL_HINT}")
    names = {path.name for path in (demo_folder / "views").iterdir()}
    assert names == {"axial.png", "coronal.png", "sagittal.png", "surface.png"}
    assert not (demo_folder / "slices.png").exists()


@pytest.mark.slow
def test_without_opengl_the_demo_names_the_packages_and_draws_plain_slices(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: only Linux can be asked to hide its EGL driver")
    hidden = {"__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull, "DISPLAY": ""}
    done = subprocess.run(
        [sys.executable, "-m", "MorseCore", "demo", "--output", str(tmp_path / "demo")],
        env={**os.environ, **hidden}, cwd=REPOSITORY, capture_output=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Plain 2D figures only. {INSTALL_HINT}" in done.stderr
    assert "libegl1 libegl-mesa0 libgl1-mesa-dri" in INSTALL_HINT
    assert (tmp_path / "demo" / "slices.png").stat().st_size > 50_000
    assert (tmp_path / "demo" / "figure.png").stat().st_size > 50_000
    assert not (tmp_path / "demo" / "views").exists()


def test_where_slicers_views_cannot_draw_the_demo_says_why_and_goes_on(tmp_path, caplog):
    # An empty folder is no result: the drawing process ends with an error, as without OpenGL.
    assert demo_run.draw_scene(demo_run.HEAD, tmp_path / "none", tmp_path / "views") == []
    assert "Plain 2D figures only" in caplog.text


def test_plain_slices_show_fill_outline_and_points_in_their_colours(tmp_path):
    import matplotlib.pyplot as plt

    shape = (20, 20, 20)
    geometry = Geometry(shape, np.eye(4))
    coarse, refined = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    coarse[6:14, 6:14, 6:14] = refined[5:14, 6:14, 6:14] = 1
    count = 30
    indices = np.full((count, 3), 9, np.int32)
    indices[:, 0] = 14
    points = RenderedPoints(
        geometry.to_world(indices), indices, np.ones(count, np.float32),
        np.zeros(count, np.int32), np.ones(count, np.int32),
        np.full(count, 0.5, np.float32), np.full(count, 0.9, np.float32),
    )  # fmt: skip
    result = Segmentation(
        geometry, (Structure(1, "cube", (0.0, 1.0, 0.0)),), coarse, refined,
        np.zeros(shape, np.float32), points,
    )  # fmt: skip
    volume = Volume(np.full(shape, 0.2, np.float32), geometry, "cube")
    image = plt.imread(demo_figure.draw_slices(volume, result, tmp_path / "slices.png"))[..., :3]
    green = (image[..., 1] > 0.9) & (image[..., 0] < 0.3) & (image[..., 2] < 0.3)
    tinted = (image[..., 1] > image[..., 0] + 0.2) & ~green
    assert green.sum() > 100  # outlines
    assert tinted.sum() > 10_000  # fills
    assert ((image[..., 2] > 0.4) & (image[..., 1] < 0.15)).sum() > 20  # points, dark blue at 1


def test_the_readme_s_five_lines_of_python_run(demo_folder, tmp_path, monkeypatch, capsys):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = text.split("<!-- python example -->")[1].split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 5
    (tmp_path / "demo-output").mkdir()
    shutil.copy(demo_run.HEAD, tmp_path / "demo-output")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "Left anterior hippocampus" in capsys.readouterr().out
    saved = read_result(tmp_path / "out")
    np.testing.assert_array_equal(saved.refined, read_result(demo_folder / "result").refined)
