"""``python Training/research/finer_grid.py``: trained coarsely, compared at full resolution."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from MorseCore.errors import ConfigError, DatasetError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, write_labels
from MorseCore.training.dataset import Case
from MorseCore.training.phantoms import write_phantom_dataset
from Training.research.study.upsampling import (
    check_is_finer,
    repeat,
    surface_distance,
    surface_of,
    whole_cells,
)
from training_runs import run_config, run_data, script


def ball(radius: float, spacing: float = 1.0, extent: float = 24.0) -> tuple[np.ndarray, Geometry]:
    """1 inside, falling linearly to 0 across the outline at ``radius`` mm about the middle."""
    n = round(extent / spacing)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = spacing / 2
    axis = (np.arange(n) + 0.5) * spacing - extent / 2
    distance = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    return np.clip(radius - distance + 0.5, 0, 1), Geometry((n, n, n), matrix)


def test_the_distance_of_two_balls_is_that_of_their_radii() -> None:
    pytest.importorskip("vtk")
    small, large = surface_of(*ball(6.0)), surface_of(*ball(8.0, spacing=0.5))
    mean, hd95 = surface_distance(small, large)
    assert mean == pytest.approx(2.0, abs=0.05)
    assert hd95 == pytest.approx(2.0, abs=0.15)
    same, _ = surface_distance(surface_of(*ball(6.0, spacing=0.5)), small)
    assert same < 0.1  # a finer mesh of the same ball


def test_a_surface_needs_voxels_and_is_closed_at_the_image_s_border() -> None:
    pytest.importorskip("vtk")
    geometry = Geometry((4, 4, 4), np.eye(4))
    assert surface_of(np.zeros((4, 4, 4)), geometry) is None
    low, high = surface_of(np.ones((4, 4, 4)), geometry).GetBounds()[:2]
    assert (low, high) == (-0.5, 3.5)


def test_odd_sides_lose_their_last_voxel_so_that_grids_match() -> None:
    volume = Volume(np.arange(5 * 6 * 7).reshape(5, 6, 7), Geometry((5, 6, 7), np.eye(4)), "x", 3)
    assert whole_cells(volume, 2, 3).array.shape == (4, 6, 6)
    assert whole_cells(volume, 2, 2).geometry.shape == (5, 6, 6)
    assert whole_cells(volume, 2, 3).array[0, 0, 0] == 0


def test_a_repeated_label_map_has_blocks() -> None:
    labels = torch.tensor([[[[0.9, 0.1]]], [[[0.1, 0.9]]]])  # (2, 1, 1, 2)
    assert repeat(labels, 2, 3).tolist() == [[[0, 0, 1, 1]] * 2] * 2
    assert repeat(labels, 2, 2).tolist() == [[[0, 0, 1, 1]] * 2]


def test_half_the_resolution_takes_half_the_window_up_to_what_the_backbone_can_halve() -> None:
    command = script("finer_grid")
    config = run_config(preparation={"window": [40, 56, 40], "spacing": [1.0, 1.0, 2.0]})
    coarse = command.coarser(config, 2).preparation
    assert coarse.spacing == (2.0, 2.0, 4.0)
    divisor = config.network.build(num_classes=2).divisor
    assert all(n % divisor == 0 for n in coarse.window)
    assert all(
        m / 2 <= n < m / 2 + divisor for n, m in zip(coarse.window, (40, 56, 40), strict=True)
    )
    free = replace(config, preparation=replace(config.preparation, spacing=None))
    with pytest.raises(ConfigError, match=r"preparation\.spacing"):
        command.coarser(free, 2)


def test_gains_are_paired_by_subject_over_cases_and_seeds() -> None:
    def case(nearest: float, field: float) -> dict:
        masks = {"nearest": {"dice": nearest}, "trilinear": {"dice": 0.5}, "field": {"dice": field}}
        return {"masks": masks, "surfaces": {}}

    scores = {1: {"a": case(0.5, 0.6), "b": case(0.7, 0.8), "c": case(0.2, 0.4)},
              2: {"a": case(0.7, 0.8), "b": case(0.5, 0.6), "c": case(0.2, 0.4)}}  # fmt: skip
    summarise = script("finer_grid").summarise
    rows = {r.variant: r for r in summarise(scores, {"a": "A", "b": "A", "c": "C"})}
    assert rows["nearest"].subjects == 2
    assert rows["nearest"].mean == pytest.approx((0.6 + 0.2) / 2)
    assert rows["nearest"].field_less_this is not None
    assert rows["nearest"].field_less_this.mean == pytest.approx((0.1 + 0.2) / 2)
    assert rows["field"].field_less_this is None


def test_a_study_trains_scores_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vtk")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = write_phantom_dataset(tmp_path / "data", cases=(2, 1, 2), shape=(25, 24, 24)).parent
    config = run_data(
        data={"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")},
        preparation={"window": [24, 24, 24], "spacing": [1.0, 1.0, 1.0]},
        optimisation={"iterations": 60, "batch_size": 2, "learning_rate": 0.01},
        validation={"every": 60},
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = [str(tmp_path / "config.json"), "--output", str(tmp_path / "out")]
    assert script("finer_grid").main(words) == 0
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "2 times coarser" in text
    assert "2 subjects" in text
    with (tmp_path / "out" / "table.csv").open(newline="", encoding="utf-8") as stream:
        rows = {(r["kind"], r["variant"], r["measure"]): r for r in csv.DictReader(stream)}
    assert {variant for kind, variant, _ in rows if kind == "masks"} == {
        "nearest", "trilinear", "field",
    }  # fmt: skip
    assert (tmp_path / "out" / "plot.png").read_bytes().startswith(b"\x89PNG")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*.json")}
    assert script("finer_grid").main(words) == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*.json")}
    capsys.readouterr()


def test_how_fine_a_mesh_is_does_not_weigh_its_direction() -> None:
    """A flat box against a ball: the two directions' means differ, so their weights would show."""
    pytest.importorskip("vtk")
    flat = np.zeros((24, 24, 24), np.float32)
    flat[11:13, 4:20, 4:20] = 1
    matrix = np.eye(4)
    matrix[:3, 3] = 0.5
    reference = surface_of(flat, Geometry((24, 24, 24), matrix))
    coarse, fine = (
        surface_distance(surface_of(*ball(8.0, spacing=s)), reference)[0] for s in (1.0, 0.5)
    )
    assert coarse == pytest.approx(fine, rel=0.02)


def test_labels_that_were_drawn_on_a_coarser_grid_say_nothing_of_a_finer_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.nii.gz"
    write_labels(path, np.zeros((8, 8, 8), np.uint8), Geometry((8, 8, 8), np.diag([4, 4, 4, 1.0])))
    case = Case("a", path, path)
    with pytest.raises(DatasetError, match="voxels of 4 x 4 x 4 mm, the finer grid of 2 x 2 x 2"):
        check_is_finer(case, [2.0, 2.0, 2.0])
    check_is_finer(case, [4.0, 4.0, 4.0])
