"""The script that makes the README's pictures, on a phantom instead of the demo's brain."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

import make_screenshots
from listeners import children
from MorseCore.commands.demo_run import HEAD
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.training.phantoms import make_phantom
from slicerqt import waitFor

pytestmark = pytest.mark.slow


def a_small_demo(folder: Path) -> int:
    """Leaves the files that the script takes of the real one."""
    voxels, _ = make_phantom(7)
    write_volume(folder / HEAD.name, voxels, Geometry(voxels.shape, np.eye(4)))
    (folder / "views").mkdir()
    (folder / "figure.png").write_bytes(b"picture")
    return 0


@pytest.fixture
def a_folder(a_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(make_screenshots, "MODEL", "phantom-tiny")
    yield tmp_path
    waitFor(lambda: not children(), seconds=5)


def pixels(path: Path) -> np.ndarray:
    """(height, width, 3) of a PNG, 0..1."""
    from matplotlib import pyplot

    return pyplot.imread(path)[..., :3]


def test_both_pictures_are_made_and_the_panel_says_what_it_is_drawn_on(
    a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_screenshots, "run_demo", a_small_demo)
    assert make_screenshots.main(["--output", str(a_folder)]) == 0
    assert (a_folder / "overview.png").read_bytes() == b"picture"
    picture = pixels(a_folder / "panel.png")
    assert picture.shape[0] > 900
    assert picture.shape[1] == make_screenshots._WIDTH
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    line = picture[-20:]
    assert "stand-ins" in make_screenshots.CAPTION
    assert (line.max(axis=-1) < 0.3).sum() > 300, "the caption, black"
    assert (line == 1).mean() > 0.7, "on white"
    assert not hasattr(slicer.modules, "morsesegment"), "the module is gone again"


def test_without_slicers_views_nothing_is_written(
    a_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plain_demo(folder: Path) -> int:
        code = a_small_demo(folder)
        shutil.rmtree(folder / "views")
        return code

    monkeypatch.setattr(make_screenshots, "run_demo", plain_demo)
    assert make_screenshots.main(["--output", str(a_folder)]) == 1
    assert list(a_folder.iterdir()) == []
    assert "could not be drawn" in capsys.readouterr().err
