"""A small training, for the tests that have none of their own."""

import json
from pathlib import Path

import pytest

from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import run_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_dataset(
        tmp_path_factory.mktemp("data"), cases=(3, 1, 1), shape=(16, 16, 16)
    ).parent


@pytest.fixture
def home(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``run.json``."""
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    config = run_data(data=places, optimisation={"iterations": 4, "batch_size": 1})
    (tmp_path / "run.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
