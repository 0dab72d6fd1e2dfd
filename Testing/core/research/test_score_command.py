"""``python Training/score.py``: a model's figures, again, by one command."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from MorseCore.metrics.casetable import read_cases
from MorseCore.store.library import find_model
from MorseCore.training.dataset import Case, PreparedCase
from scoring_runs import home, score
from training_runs import script

__all__ = ["home"]  # a fixture


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


def test_a_model_is_scored_on_contrasts_that_no_scan_has(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--split", "test", "--generated", "4")
    assert score(home, *words) == 0
    first = capsys.readouterr().out
    assert "phantom-tiny, test: 4 images generated from 3 label maps" in first
    assert "refined  DSC 0." in first
    assert score(home, *words) == 0
    assert capsys.readouterr().out == first  # two models see the same images
    assert score(home, "--generated", "-1") == 2
    assert "'--generated' takes a number above 0" in capsys.readouterr().err


def test_the_data_are_those_of_a_configuration_that_extends_another(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = home / "longer.json"
    longer.write_text('{"extends": "config.json", "optimisation.iterations": 9}', encoding="utf-8")
    words = [str(find_model("phantom-tiny")), str(longer), "--split", "test", "--device", "cpu"]
    assert script("score").main(words) == 0
    assert "phantom-tiny, test: 3 cases" in capsys.readouterr().out


def test_an_interrupted_scoring_goes_on_with_the_next_case(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("score")
    words = [str(find_model("phantom-tiny")), str(home / "config.json"), "--split", "test",
             "--device", "cpu", "--output", str(tmp_path)]  # fmt: skip
    prepare, prepared = module.prepare_case, []

    def prepare_two(case: Case, *others: Any, **named: Any) -> PreparedCase:
        if len(prepared) == 2:
            raise KeyboardInterrupt
        prepared.append(case.name)
        return prepare(case, *others, **named)

    monkeypatch.setattr(module, "prepare_case", prepare_two)
    assert module.main(words) == 1
    assert "Stopped; run it again to go on." in capsys.readouterr().err
    table = tmp_path / "scores-test.csv"
    assert list(read_cases(table)) == prepared
    assert not table.with_suffix(".png").exists()
    prepared.clear()  # two more may be prepared, which is one too many if all three are
    assert module.main(words) == 0
    assert len(prepared) == 1
    assert score(home, "--split", "test", "--output", str(home / "at once")) == 0
    assert read_cases(table) == read_cases(home / "at once" / "scores-test.csv")
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_another_model_are_neither_taken_nor_overwritten(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--split", "val", "--output", str(tmp_path))
    assert score(home, *words) == 0
    before = (tmp_path / "scores-val.csv").read_bytes()
    assert score(home, *words, "renderer.passes=0") == 2
    assert "holds scores of another model or data in 'scores-val.csv'" in capsys.readouterr().err
    (tmp_path / "scores-val.json").unlink()  # as in the folder of a training
    assert score(home, *words) == 2
    assert "does not say which model it is of" in capsys.readouterr().err
    assert (tmp_path / "scores-val.csv").read_bytes() == before


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


@pytest.fixture
def elsewhere(home: Path, tmp_path: Path) -> Path:
    """The same images as another data set has them: two labels swapped and renamed, and a third."""
    shutil.copytree(home / "data", tmp_path / "data")
    entry = json.loads((tmp_path / "data" / "dataset.json").read_text())
    entry["labels"] = {"0": "background", "1": "tube", "2": "sphere", "3": "corner"}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(entry))
    for case in entry["training"]:
        path = tmp_path / "data" / case["label"]
        image = SimpleITK.ReadImage(str(path))
        labels = np.array([0, 2, 1], np.uint8)[SimpleITK.GetArrayFromImage(image)]
        labels[:2, :2, :2] = 3
        other = SimpleITK.GetImageFromArray(labels)
        other.CopyInformation(image)
        SimpleITK.WriteImage(other, str(path))
    config = json.loads((home / "config.json").read_text())
    for key, name in (("dataset", "dataset.json"), ("split", "splits.json")):
        config["data"][key] = str(tmp_path / "data" / name)
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_another_data_set_is_scored_in_the_structures_that_both_have(
    home: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(home, "--split", "test", "--output", str(home / "own")) == 0
    pairs = "ball=sphere, rod=tube"
    words = ("--split", "test", "--labels", pairs, "--output", str(elsewhere / "out"))
    assert score(elsewhere, *words) == 0
    assert f"phantom-tiny, test, {pairs}: 3 cases of 2 subjects" in capsys.readouterr().out
    own = read_cases(home / "own" / "scores-test.csv")
    text = (elsewhere / "out" / "scores-test.csv").read_text()
    other = read_cases(elsewhere / "out" / "scores-test.csv")
    assert ",1,ball,both," in text
    assert {name: case["refined"].structures for name, case in other.items()} == {
        name: case["refined"].structures for name, case in own.items()
    }
    assert all(np.isnan(case["refined"].background_jaccard) for case in other.values())

    words = ("--split", "test", "--labels", "rod=tube", "--output", str(elsewhere / "rod"))
    assert score(elsewhere, *words) == 0
    for name, case in read_cases(elsewhere / "rod" / "scores-test.csv").items():
        assert case["coarse"].structures == {2: own[name]["coarse"].structures[2]}
    words = ("--split", "test", "--labels", "rod=tube")
    assert score(elsewhere, *words, "--against", str(home / "own" / "scores-test.csv")) == 2
    assert "holds other cases or structures" in capsys.readouterr().err


def spread_out(folder: Path) -> None:
    """The voxels of a data set are 1.5 mm apart, so that a model of 1 mm resamples them."""
    for path in folder.glob("data/*/*.nii.gz"):
        image = SimpleITK.ReadImage(str(path))
        image.SetSpacing((1.5, 1.5, 1.5))
        SimpleITK.WriteImage(image, str(path))


def test_structures_are_paired_on_the_grid_on_which_they_were_drawn_too(
    home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(home / "data", own / "data")
    config = json.loads((home / "config.json").read_text())
    for key, name in (("dataset", "dataset.json"), ("split", "splits.json")):
        config["data"][key] = str(own / "data" / name)
    (own / "config.json").write_text(json.dumps(config))
    for folder in (own, elsewhere):
        spread_out(folder)
    assert score(own, "--split", "test", "--output", str(own / "out")) == 0
    words = ("--split", "test", "--labels", "ball=sphere, rod=tube")
    assert score(elsewhere, *words, "--output", str(elsewhere / "out")) == 0
    found, expected = (
        {n: c["refined"].structures for n, c in read_cases(f / "out/scores-test.csv").items()}
        for f in (elsewhere, own)
    )
    assert found == expected
    assert all(case[1].dice > 0.5 for case in found.values())


def test_the_means_of_the_card_are_printed_beside_those_over_subjects(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(home, "--split", "test", "--output", str(home / "means")) == 0
    cases = read_cases(home / "means" / "scores-test.csv").values()
    mean = np.mean([s.dice for case in cases for s in case["refined"].structures.values()])
    assert f"refined  over cases: DSC {mean:.4f}, " in capsys.readouterr().out


def test_all_cases_of_a_data_set_that_the_model_does_not_know_can_be_scored(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(elsewhere, "--split", "all", "--labels", "ball=sphere") == 0
    assert ": 6 cases of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("rod=tub", "data set 'Phantoms' has no structure 'tub' (did you mean 'tube'?); it has"),
        ("liver=tube", "The model 'phantom-tiny' has no structure 'liver'; it has ball, rod."),
        ("rod=background", "has no structure 'background'; it has tube, sphere, corner."),
        ("rod", "--labels takes STRUCTURE=LABEL,…; found 'rod'."),
        ("rod=tube,ball=tube", "--labels names a structure twice"),
        ("rod=tube,rod=sphere", "--labels names a structure twice"),
    ],
)
def test_pairs_that_make_no_sense_are_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], labels: str, message: str
) -> None:
    assert score(elsewhere, "--labels", labels) == 2
    assert message in capsys.readouterr().err
