"""``python Training/score.py``: a model's figures, again, by one command."""

import json
from pathlib import Path

import pytest
from training_runs import run_data, script

from MorseCore.learning.phantoms import write_phantom_dataset
from MorseCore.models_library import find_model
from MorseCore.scoring.casetable import read_cases


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


def test_a_model_is_scored_and_compared_with_what_was_written_before(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(home, "--split", "test", "--output", str(home / "out")) == 0
    assert "phantom-tiny, test: 3 cases of 2 subjects" in capsys.readouterr().out
    table = home / "out" / "scores-test.csv"
    cases = read_cases(table)
    assert len(cases) == 3
    assert all(c["refined"].structures[1].dice > 0.8 for c in cases.values())
    words = ("renderer.passes=0", "--split", "test", "--against", str(table))
    assert score(home, *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("refined - coarse: DSC +0.0000 [+0.0000, +0.0000]")
    assert "DSC +0.0000" not in lines[-1]  # without rendering the masks are not those of before


def test_what_cannot_be_scored_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(home, "sampler.points=3") == 2
    assert "Only renderer.* and windows.*" in capsys.readouterr().err
    config = json.loads((home / "config.json").read_text())
    data = Path(config["data"]["dataset"])
    entry = json.loads(data.read_text())
    entry["labels"]["3"] = "another"
    (data.parent / "four.json").write_text(json.dumps(entry))
    config["data"]["dataset"] = str(data.parent / "four.json")
    (home / "four.json").write_text(json.dumps(config))
    words = [str(find_model("phantom-tiny")), str(home / "four.json")]
    assert script("score").main(words) == 2
    assert "The model has 3 classes and the data set 4" in capsys.readouterr().err
