"""``python Training/research/uncertainty.py``: errors found by uncertainty, and calibration."""

import csv
import json
import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch

from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.library import BUILT_IN
from MorseCore.store.model_folder import read_model
from MorseCore.training.phantoms import write_phantom_dataset
from Training.research.study.reliability import (
    BINS,
    COUNTS,
    Reliability,
    best_temperature,
    coverage,
    ece_difference,
    near_boundary,
    nll_by_temperature,
    scores_of,
    walk,
)
from training_runs import run_data, script


def drawn(logits: torch.Tensor) -> torch.Tensor:
    """Labels drawn from softmax(logits), which are then perfectly calibrated."""
    generator = torch.Generator().manual_seed(0)
    return torch.multinomial(logits.softmax(0).T, 1, generator=generator)[:, 0]


def test_the_temperature_that_made_the_labels_is_found_again() -> None:
    logits = 2 * torch.randn(3, 40_000, generator=torch.Generator().manual_seed(1))
    labels = drawn(logits)
    for factor in (0.5, 1.0, 3.0):  # overconfident by this factor
        nll = nll_by_temperature((factor * logits).softmax(0), labels)
        assert best_temperature(nll) == pytest.approx(factor, rel=0.03)


def test_calibrated_answers_have_no_calibration_error_and_overconfident_ones_have() -> None:
    logits = 2 * torch.randn(3, 40_000, generator=torch.Generator().manual_seed(1))
    labels = drawn(logits)
    assert Reliability.of(logits.softmax(0), labels).ece < 0.01
    assert Reliability.of((3 * logits).softmax(0), labels).ece > 0.1


def test_calibration_error_by_hand_and_cases_add_up() -> None:
    # Two voxels sure by 0.75, one of them right: off by 0.25. One sure by 1.0 and right.
    first = Reliability.of(torch.tensor([[0.75, 0.75], [0.25, 0.25]]), torch.tensor([0, 1]))
    second = Reliability.of(torch.tensor([[0.0], [1.0]]), torch.tensor([1]))
    assert first.ece == pytest.approx(0.25)
    assert (first + second).ece == pytest.approx(0.5 / 3)
    assert len(first.count) == BINS


def test_the_band_lies_about_the_predicted_outline_in_mm() -> None:
    mask = np.zeros((1, 1, 12), np.uint8)
    mask[..., 6:] = 1
    band = near_boundary(mask, (1.0, 1.0, 2.0), within=2.0)
    assert np.flatnonzero(band).tolist() == [4, 5, 6, 7]  # 5 and 6 at the outline, 4 and 7 2 mm off
    assert near_boundary(np.zeros((2, 2, 2)), (1, 1, 1), within=2.0).all()


def test_errors_are_covered_in_the_order_of_uncertainty() -> None:
    wrong = np.zeros(1000, bool)
    wrong[:64] = True
    perfect = coverage(torch.arange(1000).neg(), wrong)
    assert perfect[:2] == [0.5, 1.0]
    worst = coverage(torch.arange(1000), wrong)
    assert worst[COUNTS.index(512)] == 0.0
    assert worst[-1] == 1.0  # more points than voxels


def test_margin_and_entropy_disagree_where_a_third_class_is_possible() -> None:
    probabilities = torch.tensor([[0.5, 0.4], [0.5, 0.35], [0.0, 0.25]])
    scores = scores_of(probabilities)
    assert scores["margin"][0] > scores["margin"][1]
    assert scores["entropy"][0] < scores["entropy"][1]
    assert scores["margin"][0] == 0.0


def test_a_reviewer_walks_the_rendered_points_from_the_most_uncertain() -> None:
    wrong = np.zeros((1, 1, 8), bool)
    wrong[..., [1, 2, 6]] = True
    uncertainty = torch.tensor([[[0.9, 0.8, 0.1, 0.1, 0.1, 0.2, 1.0, 0.0]]])
    rendered = torch.tensor([[[1, 1, 0, 0, 0, 1, 0, 0]]], dtype=torch.bool)
    found = walk(wrong, uncertainty, rendered)
    assert found.errors == [0, 1, 0]  # 6 is the most uncertain but was not rendered
    assert found.rate == pytest.approx(1 / 3)
    assert found.background == pytest.approx(3 / 8)
    assert found.regions == pytest.approx(2 / 3)  # 1 and 2 hang together


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``config.json``, its phantoms, and a copy of phantom-tiny."""
    folder = tmp_path_factory.mktemp("uncertainty")
    data = write_phantom_dataset(folder / "data", cases=(1, 2, 1), shape=(24, 24, 24)).parent
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    (folder / "config.json").write_text(json.dumps(run_data(data=places)))
    shutil.copytree(BUILT_IN / "phantom-tiny", folder / "model")
    return folder


def run(home: Path, *words: str) -> int:
    return script("uncertainty").main(
        [str(home / "model"), str(home / "config.json"), "--device", "cpu", *words]
    )


def test_a_study_is_written_goes_on_and_its_temperature_reaches_the_predictor(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = home / "out"
    assert run(home, "--output", str(out), "--write-temperature") == 0
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "| 8192 | 1.000 |" in (out / "table.md").read_text(encoding="utf-8")
    with (out / "table.csv").open(newline="", encoding="utf-8") as stream:
        rows = {(r["figure"], r["of"], r["at"]): float(r["value"]) for r in csv.DictReader(stream)}
    assert rows["nll", "band", "after"] <= rows["nll", "band", "before"] + 1e-9
    before = read_model(BUILT_IN / "phantom-tiny")
    info = read_model(home / "model")
    assert info.temperature == rows["temperature", "", ""] != 1.0
    assert (info.sha256, before.temperature) == (before.sha256, 1.0)
    assert VolumePredictor(home / "model", device="cpu").info.temperature == info.temperature
    case = next((out / "cases" / "plain").iterdir())
    stamps = {p: p.stat().st_mtime_ns for p in (out / "cases").rglob("*.json")}
    assert run(home, "--output", str(out)) == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in (out / "cases").rglob("*.json")}
    case.unlink()
    assert run(home, "--output", str(out)) == 0
    assert case.is_file()
    capsys.readouterr()


def test_cases_of_another_split_are_measured_and_replaced_ones_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, config = home / "splits", (home / "config.json").read_text()
    assert run(home, "--output", str(out)) == 0
    place = json.loads(config)["data"]
    other = json.loads(Path(place["split"]).read_text())
    other["train"], other["val"] = other["val"], other["train"]
    changed = home / "data" / "other.json"
    changed.write_text(json.dumps(other))
    (home / "config.json").write_text(config.replace(place["split"], str(changed)))
    assert run(home, "--output", str(out)) == 0
    assert "val: 1 cases" in capsys.readouterr().out
    assert len(list((out / "cases" / "plain").iterdir())) == 3
    (home / "config.json").write_text(config)
    first = home / "data" / "labels" / f"{other['train'][0]}.nii.gz"
    kept = first.read_bytes()
    shutil.copy(home / "data" / "labels" / f"{other['val'][0]}.nii.gz", first)
    assert run(home, "--output", str(out)) == 2
    assert "has other files now" in capsys.readouterr().err
    first.write_bytes(kept)


def test_what_makes_no_sense_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(home / "other")
    assert run(home, "--output", out, "--split", "test", "--write-temperature") == 2
    assert "fitted on the validation split" in capsys.readouterr().err
    assert run(home, "--output", out, "--band", "0") == 2
    assert "'--band' must be positive" in capsys.readouterr().err
    assert run(home, "--output", out) == 0
    assert run(home, "--output", out, "--split", "test") == 2
    assert "holds another study" in capsys.readouterr().err


def test_the_change_of_calibration_error_is_paired_by_subject() -> None:
    def bins(confidence: float) -> Reliability:
        one = np.zeros(BINS)
        one[-1] = 100
        return Reliability(one, one * confidence, one * 0.9)

    before, after = [bins(0.97), bins(0.95)] * 4, [bins(0.93), bins(0.91)] * 4
    found = ece_difference(before, after)
    assert astuple(found) == pytest.approx((-0.04, -0.04, -0.04))  # in every draw of subjects alike
    mixed = ece_difference([bins(0.95)] * 8, [bins(0.91), bins(0.99)] * 4)
    assert mixed.mean == pytest.approx(0.0, abs=1e-9)
    assert mixed.low < -0.01 < 0.01 < mixed.high
