"""The demo on its real inputs: the template, the shipped model, the figure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from MorseCore.commands import demo, demo_figure
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.inference.files import read_result
from MorseCore.metrics.scores import overlap
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentPictures.probe import INSTALL_HINT, canRender

pytest.importorskip("nilearn", reason="the demo's brain comes with nilearn: install '.[demo]'")
pytest.importorskip("matplotlib", reason="the demo's figure needs matplotlib: install '.[demo]'")

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert demo.run_demo(folder) == 0
    return folder


def test_the_template_lies_in_icbm_space():
    volume = demo.load_template()
    assert volume.geometry.spacing == (1.0, 1.0, 1.0)
    k, j, i = np.round(volume.geometry.to_index(np.array([0.0, -20.0, 8.0]))).astype(int)[::-1]
    assert volume.array[k, j, i] > 0.2 * volume.array.max()  # inside the brain
    assert volume.array[0, 0, 0] == 0  # outside


def test_the_demo_finds_two_hippocampi_of_plausible_volume(demo_folder):
    report = json.loads((demo_folder / "result" / "report.json").read_text())
    for side in ("left", "right"):
        volume = sum(row["refined_ml"] for row in report["regions"][side]["structures"])
        assert 2.0 < volume < 5.5, side


def test_the_hippocampi_mirror_each_other_in_the_medial_temporal_lobes(demo_folder):
    result = read_result(demo_folder / "result")
    mask = result.refined > 0
    world = result.geometry.to_world(np.argwhere(mask)[:, ::-1])
    left, right = world[world[:, 0] < 0], world[world[:, 0] > 0]
    assert left.mean(0) == pytest.approx([-26, -22, -14], abs=5)
    assert right.mean(0) == pytest.approx([26, -22, -14], abs=5)
    # x = 0 is the middle plane of the template's grid: index 98 of 197.
    assert overlap(mask, mask[:, :, ::-1])[0] > 0.75


def test_the_anterior_part_lies_before_the_posterior_part(demo_folder):
    result = read_result(demo_folder / "result")
    names = {s.name: s.value for s in result.structures}
    middle = {
        name: result.geometry.to_world(np.argwhere(result.refined == value)[:, ::-1]).mean(0)[1]
        for name, value in names.items()
    }
    assert middle["Anterior hippocampus"] > middle["Posterior hippocampus"] + 8


def test_the_demo_leaves_a_figure_and_all_result_files(demo_folder):
    import matplotlib.pyplot as plt

    figure = plt.imread(demo_folder / "figure.png")
    assert figure.shape[0] > 300
    assert figure.shape[1] > 900
    assert figure[..., :3].std() > 0.1
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
        env={**os.environ, **hidden}, cwd=REPOSITORY, capture_output=True, text=True,
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
    assert demo.draw_scene(tmp_path, tmp_path / "none") == []
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


def test_regions_are_merged_without_losing_points():
    shape, geometry = (4, 4, 4), Geometry((4, 4, 4), np.eye(4))
    structures = (Structure(1, "a", (1.0, 0.0, 0.0)),)

    def part(column: int, uncertainty: float) -> Segmentation:
        mask = np.zeros(shape, np.uint8)
        mask[:, :, column] = 1
        one = np.ones(1, np.int32)
        points = RenderedPoints(
            np.full((1, 3), float(column)), np.full((1, 3), column, np.int32),
            np.full(1, uncertainty, np.float32), one, one, np.ones(1, np.float32),
            np.ones(1, np.float32),
        )  # fmt: skip
        report = {"points": {"rendered_voxels": 1, "evaluated": 2}, "structures": []}
        return Segmentation(
            geometry, structures, mask, mask, np.zeros(shape, np.float32), points, report
        )

    merged = demo.merge({"left": part(0, 0.2), "right": part(3, 0.9)})
    assert merged.refined.sum() == 32
    assert merged.points.uncertainty.tolist() == pytest.approx([0.9, 0.2])
    assert merged.report["points"] == {"evaluated": 4, "rendered_voxels": 2}
    assert merged.report["structures"][0]["refined_ml"] == pytest.approx(0.032)


def test_the_readme_s_five_lines_of_python_run(demo_folder, tmp_path, monkeypatch, capsys):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = text.split("<!-- python example -->")[1].split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 5
    (tmp_path / "demo-output").mkdir()
    shutil.copy(demo_folder / "t1.nii.gz", tmp_path / "demo-output")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "Anterior hippocampus" in capsys.readouterr().out
    saved = read_result(tmp_path / "left")
    inside = read_result(demo_folder / "result").refined
    left = saved.refined > 0
    assert left.any()
    assert ((inside > 0) & left).sum() == left.sum()  # the demo's left half is the same run
