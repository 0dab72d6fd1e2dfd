"""Phantoms that are scored: a training's data set, and the same images as somebody else's."""

import json
import shutil
from pathlib import Path

import pytest

from MorseCore.store.library import find_model
from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import run_data, script


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``config.json``, whose data are phantoms; cases test_* are two subjects'."""
    folder = tmp_path_factory.mktemp("score")
    data = write_phantom_dataset(folder / "data", cases=(1, 2, 3), shape=(24, 24, 24)).parent
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    (folder / "config.json").write_text(json.dumps(run_data(data=places)))
    tests = json.loads((data / "splits.json").read_text())["test"]
    rows = [f"{name},{subject}" for name, subject in zip(tests, "AAB", strict=True)]
    (data / "cases.csv").write_text("\n".join(["case,subject", *rows]))
    return folder


def score(home: Path, *words: str) -> int:
    model = find_model("phantom-tiny")
    return script("score").main([str(model), str(home / "config.json"), *words, "--device", "cpu"])


@pytest.fixture
def untrained(home: Path, tmp_path: Path) -> Path:
    """The same images as a data set of somebody who trained nothing."""
    shutil.copytree(home / "data", tmp_path / "mine")
    (tmp_path / "mine" / "splits.json").unlink()
    return tmp_path / "mine" / "dataset.json"


def score_mine(dataset: Path, *words: str) -> int:
    model = str(find_model("phantom-tiny"))
    return script("score").main([model, str(dataset), *words, "--device", "cpu"])
