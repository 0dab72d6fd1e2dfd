"""``python Training/verdict.py``: limits of good and spoilt runs, in the model and on its card."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli_client import phantom_volume
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.quality.rates import area_under_risk
from MorseCore.quality.spoiling import KINDS
from MorseCore.store.library import BUILT_IN
from MorseCore.store.model_folder import CARD, INFO, read_model
from MorseCore.training.phantoms import write_phantom_dataset
from MorseCore.training.verdicts import kinds_for
from training_runs import script


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, phantoms that it did not see, and what the command wrote of both."""
    folder = tmp_path_factory.mktemp("verdict")
    write_phantom_dataset(folder / "data", cases=(6, 7, 1), shape=(24, 24, 24))
    shutil.copytree(BUILT_IN / "phantom-tiny", folder / "model")
    assert fit(folder) == 0
    return folder


def fit(folder: Path) -> int:
    words = [folder / "model", folder / "data" / "dataset.json", "--device", "cpu"]
    options = ["--output", folder / "out", "--spoil", "2"]
    return script("verdict").main([str(word) for word in (*words, *options)])


def test_the_model_gets_limits_for_every_signal_and_keeps_its_weights(home: Path) -> None:
    before, after = read_model(BUILT_IN / "phantom-tiny"), read_model(home / "model")
    assert after.verdict is not None
    signals = {limit.signal for limit in after.verdict.thresholds}
    assert {"volume", "agreement", "stability", "attention", "stray"} <= signals
    assert (after.sha256, after.format) == (before.sha256, 2)


def test_the_cases_that_were_fitted_are_ok_and_air_is_not(home: Path) -> None:
    predictor = VolumePredictor(home / "model", device="cpu")
    good = predictor.segment(phantom_volume()).report["verdict"]
    assert "agreement" not in good["not_checked"]
    air = np.random.default_rng(1).normal(0, 1, (24, 24, 24)).astype(np.float32)
    bad = predictor.segment(replace(phantom_volume(), array=air)).report["verdict"]
    assert bad["level"] != "ok"
    assert bad["severity"] > good["severity"]


def test_the_figures_count_every_run_and_name_what_was_set_apart(home: Path) -> None:
    figures = read_model(home / "model").verdict.figures
    assert figures["subjects"] == 7
    assert figures["spoilt_subjects"] == 2
    assert figures["good_flagged_fast"]["runs"] == 7 * 3
    assert figures["caught"]["spoilt"]["runs"] == 2 * 7 * 3
    assert figures["caught"]["spoilt, set apart"]["runs"] == 2 * 3 * 3
    assert {*KINDS} < {*figures["caught"]}
    area = figures["aurc"]
    assert area["best_possible"] <= area["severity"] <= 1


def test_the_card_has_one_table_however_often_it_is_fitted(home: Path) -> None:
    cases = sorted((home / "out" / "cases").glob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in cases]
    info = (home / "model" / INFO).read_text(encoding="utf-8")
    assert fit(home) == 0
    assert [path.stat().st_mtime_ns for path in cases] == stamps  # nothing is measured again
    assert (home / "model" / INFO).read_text(encoding="utf-8") == info
    card = (home / "model" / CARD).read_text(encoding="utf-8")
    assert card.count("## When not to trust it") == 1
    assert "| elsewhere | 6 |" in card
    assert card.startswith("# Phantom")


def test_a_case_that_was_lost_is_measured_again(home: Path) -> None:
    case = sorted((home / "out" / "cases").glob("*.json"))[0]
    before = json.loads(case.read_text(encoding="utf-8"))
    case.unlink()
    assert fit(home) == 0
    assert json.loads(case.read_text(encoding="utf-8")) == before


def test_a_folder_of_another_model_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home, tmp_path / "home")
    model = tmp_path / "home" / "model" / INFO
    data = json.loads(model.read_text(encoding="utf-8"))
    model.write_text(json.dumps(data | {"temperature": 2.0}), encoding="utf-8")
    assert fit(tmp_path / "home") != 0
    assert "holds another study" in capsys.readouterr().err


def test_a_model_of_any_contrast_is_not_asked_for_another() -> None:
    brain, phantom = (read_model(BUILT_IN / name) for name in ("brain-mr", "phantom-tiny"))
    assert "contrast" not in kinds_for(brain)
    assert kinds_for(phantom) == tuple(KINDS)
    mixed = {"config": {"data": {"source": "images", "generated_share": 0.5}}}
    assert "contrast" not in kinds_for(replace(phantom, training=mixed))


def test_the_area_under_the_risk_is_what_one_counts_by_hand() -> None:
    # Kept one by one from the least score on: risks 0; 0 and 1; 0, 1 and 0.5.
    assert area_under_risk([1.0, 0.0, 0.5], [2, 1, 3]) == pytest.approx((0 + 1 / 2 + 1.5 / 3) / 3)
    assert area_under_risk([0.2, 0.2], [1, 2]) == pytest.approx(0.2)
