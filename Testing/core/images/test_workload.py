"""The work that is planned is the work that is done."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.workload import Workload, plan_workload
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.library import find_model
from MorseCore.training.phantoms import make_phantom

CUBE = Geometry((20, 20, 20), np.eye(4))


def plan(geometry: Geometry, **changed: Any) -> Workload:
    """For windows of 10 voxels without overlap, at 1 mm, and 2 passes of 50 points."""
    given: dict[str, Any] = {
        "window": (10, 10, 10), "spacing": (1.0, 1.0, 1.0), "overlap": 0.0, "points": 50,
        "passes": 2,
    }  # fmt: skip
    return plan_workload(geometry, **{**given, **changed})


def test_windows_and_points_are_counted() -> None:
    assert plan(CUBE) == Workload(windows=8, points=800, voxels=8000)


def test_overlap_takes_more_windows() -> None:
    assert plan(CUBE, overlap=0.5).windows == 27


def test_a_coarser_model_takes_fewer_windows() -> None:
    assert plan(CUBE, spacing=(2.0, 2.0, 2.0)).windows == 1
    assert plan(CUBE, spacing=None).windows == 8


def test_a_model_of_slices_takes_a_window_a_slice_at_least() -> None:
    work = plan(CUBE, window=(10, 20), spacing=(1.0, 1.0))
    assert work == Workload(windows=2 * 20, points=4000, voxels=8000)


def test_no_more_points_than_a_window_has_voxels() -> None:
    assert plan(CUBE, points=800).points == 8 * 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantom-tiny", "phantom-tiny-2d"])
def test_a_run_reports_what_was_planned(name: str) -> None:
    folder: Path = find_model(name)
    predictor = VolumePredictor(folder, device="cpu")
    image = make_phantom(7, shape=(6, 40, 52) if name.endswith("2d") else (34, 40, 28))[0]
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])[[1, 2, 0, 3]]
    volume = Volume(image, Geometry(image.shape, matrix), "Phantom")
    info = predictor.info
    options = PredictOptions(points=70, passes=2)
    report = predictor.segment(volume, options).report
    work = plan_workload(
        volume.geometry,
        window=info.preparation.window_size,
        spacing=info.preparation.spacing,
        overlap=info.windows.overlap,
        points=70,
        passes=2,
    )
    assert work.windows > 1
    assert work.windows == report["windows"]
    assert work.points == report["points"]["evaluated"] == report["points"]["asked"]
    assert work.voxels == int(np.prod(report["input"]["segmented_shape_kji"]))


def test_planning_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, MorseCore.images.workload; sys.exit('torch' in sys.modules)"
    root = str(Path(__file__).parents[3])
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
