"""The end of a training fits the model's verdict on its validation split, or says why it cannot."""

import json
from pathlib import Path

import pytest

from cli_client import phantom_volume
from MorseCore.errors import ConfigError
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.model_folder import ModelInfo, read_model
from MorseCore.training import verdicts
from MorseCore.training.config import ValidationConfig
from MorseCore.training.phantoms import write_phantom_dataset
from MorseCore.training.verdicts import LEAST_SUBJECTS, plan_within
from train_command import train
from training_runs import REPOSITORY

MODEL = "runs/phantom-tiny/model"
HEADING = "## When not to trust it"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_phantom_dataset(folder, cases=(5, LEAST_SUBJECTS, 0), shape=(24, 24, 24)).parent


@pytest.fixture
def home(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a training that changes a good network as good as not at all."""
    text = (REPOSITORY / "Training" / "configs" / "phantom-tiny.json").read_text(encoding="utf-8")
    config = json.loads(text)
    config["data"] |= {"dataset": f"{data}/dataset.json", "split": f"{data}/splits.json"}
    config["optimisation"] |= {"iterations": 1, "batch_size": 1, "learning_rate": 1e-9, "warmup": 0}
    config |= {"output": "runs", "device": "cpu", "initialise": "phantom-tiny"}
    (tmp_path / "run.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(home: Path, *overrides: str) -> tuple[ModelInfo, str]:
    """The model, and the part of its card that is about the verdict."""
    assert train(*overrides) == 0
    card = (home / MODEL / "README.md").read_text(encoding="utf-8")
    assert card.count(HEADING) == 1
    return read_model(home / MODEL), card.partition(HEADING)[2].partition("\n## ")[0].strip()


def test_a_training_ends_with_limits_of_its_validation_split_and_a_table(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "plan_within", lambda *_: (LEAST_SUBJECTS, 1))
    info, card = trained(home)
    assert info.verdict is not None
    signals = {limit.signal for limit in info.verdict.thresholds}
    assert {"volume", "agreement", "attention", "stray"} <= signals
    figures = info.verdict.figures
    assert figures["subjects"] == LEAST_SUBJECTS
    assert figures["good_flagged_fast"]["runs"] == 3 * LEAST_SUBJECTS
    assert figures["caught"]["spoilt"]["runs"] == 3 * 7
    assert card.startswith("Fitted on 4 cases of 4 subjects that the training did not see")
    assert "volumes of 5 label maps" in card
    assert "| air | 3 |" in card
    good = VolumePredictor(home / MODEL, device="cpu").segment(phantom_volume())
    assert "agreement" not in good.report["verdict"]["not_checked"]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("validation.verdict_minutes=0", "'validation.verdict_minutes' is 0."),
        ("validation.verdict_minutes=0.0001", "'validation.verdict_minutes' is 0.0001."),
        ("initialise=", "its masks are too poor"),
        ("data.split=few.json", "the validation split has 3 cases, and 4 are the least."),
    ],
)
def test_without_a_fit_volumes_keep_their_limits_and_the_card_says_why(
    home: Path, data: Path, override: str, reason: str
) -> None:
    split = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    few = {"train": split["train"] + split["val"][3:], "val": split["val"][:3], "test": []}
    (home / "few.json").write_text(json.dumps(few), encoding="utf-8")
    info, card = trained(home, override)
    assert reason in card
    assert card.count("\n") == 0
    assert info.verdict is None or {x.signal for x in info.verdict.thresholds} == {"volume"}
    assert info.verdict is None or info.verdict.origin == card


def test_the_time_given_decides_how_many_are_measured_and_spoilt() -> None:
    assert plan_within(600, 1.0, 27, 18) == (27, 17)
    assert plan_within(60, 1.0, 27, 18) == (15, 3)
    assert plan_within(16, 1.0, 27, 18) == (LEAST_SUBJECTS, 1)
    assert plan_within(15, 1.0, 27, 18)[1] == 0
    for once in (0.5, 3.0, 20.0):
        cases, spoilt = plan_within(600, once, 500, 500)
        assert once * (cases + 11.5 * spoilt) <= 600


def test_minutes_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="verdict_minutes"):
        ValidationConfig(verdict_minutes=-1)
