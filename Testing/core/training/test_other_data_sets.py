"""Scoring what other labs hand over: other layouts, numbers and names, damaged and mended cases."""

import json
import shutil
from pathlib import Path

import pytest
import SimpleITK

from MorseCore.store.library import find_model
from scoring_runs import home, score, score_mine, untrained
from training_runs import script

__all__ = ["home", "untrained"]  # fixtures


def test_a_data_set_without_splits_is_scored_as_a_whole(
    untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score_mine(untrained, "--split", "test") == 0
    assert "phantom-tiny, test: 6 cases" in capsys.readouterr().out
    assert score_mine(untrained) == 0
    assert "phantom-tiny, all: 6 cases" in capsys.readouterr().out
    assert score_mine(untrained, "--split", "val") == 2
    assert "The split 'val' holds no cases; 'test' holds 6." in capsys.readouterr().err


def test_a_data_set_may_have_splits_and_no_training_case(
    untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = json.loads(untrained.read_text())["training"]
    names = [Path(entry["image"]).name.split(".")[0] for entry in entries]
    untrained.with_name("splits.json").write_text(json.dumps({"val": names[:2]}))
    assert score_mine(untrained) == 0
    assert "phantom-tiny, val: 2 cases" in capsys.readouterr().out


def test_a_file_that_names_no_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.json").write_text("{}")
    assert score_mine(tmp_path / "odd.json") == 2
    assert "neither a training's configuration nor a dataset.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["uncertainty", "resolution_shift"])
def test_other_studies_take_such_a_data_set_too(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = [str(find_model("phantom-tiny")), str(untrained), "--output", str(tmp_path / name)]
    assert script(name).main([*words, "--split", "all"]) == 0
    count = {"uncertainty": "all: 6 cases", "resolution_shift": "| input x 1 | 5 |"}[name]
    assert count in capsys.readouterr().out
    assert (tmp_path / name / "table.md").is_file()


def test_cases_that_left_the_data_set_are_not_counted(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(find_model("phantom-tiny")), str(untrained), "--output", str(tmp_path / "out"),
             "--inputs", "1", "--outputs", "", "--split", "test"]  # fmt: skip
    assert script("resolution_shift").main(words) == 0
    data = json.loads(untrained.read_text())
    untrained.write_text(json.dumps(data | {"training": data["training"][:2]}))
    capsys.readouterr()
    assert script("resolution_shift").main(words) == 0
    assert "| input x 1 | 2 |" in capsys.readouterr().out


def test_a_configuration_that_names_no_split_makes_no_case_a_test_case(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((home / "config.json").read_text())
    config["data"]["split"] = ""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert score_mine(tmp_path / "config.json", "--split", "all") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_structures_of_other_names_are_said_to_be_compared_by_number(
    home: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(home) == 0
    assert "by number" not in capsys.readouterr().out
    data = json.loads(untrained.read_text())
    labels = {"0": "background", "1": "sphere", "2": "stick"}
    untrained.write_text(json.dumps(data | {"labels": labels}))
    assert score_mine(untrained, "--split", "test") == 0
    assert "the model's = the data set's: ball = sphere, rod = stick" in capsys.readouterr().out


def test_the_same_names_in_another_order_are_not_compared_by_number(
    untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(untrained.read_text())
    labels = {"0": "background", "1": "rod", "2": "ball"}
    untrained.write_text(json.dumps(data | {"labels": labels}))
    assert score_mine(untrained) == 2
    error = capsys.readouterr().err
    assert '--labels "ball=ball,rod=rod"' in error
    assert score_mine(untrained, "--labels", "ball=ball,rod=rod") == 0


def test_labels_that_are_numbered_with_gaps_can_be_named(
    untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score_mine(untrained) == 0
    whole = [line for line in capsys.readouterr().out.splitlines() if "refined  ball" in line]
    data = json.loads(untrained.read_text())
    for entry in data["training"]:
        path = untrained.parent / entry["label"]
        label = SimpleITK.ReadImage(str(path))
        changed = SimpleITK.ChangeLabelImageFilter()
        changed.SetChangeMap({1: 17, 2: 53})
        SimpleITK.WriteImage(changed.Execute(label), str(path))
    labels = {"0": "background", "17": "ball", "53": "rod"}
    untrained.write_text(json.dumps(data | {"labels": labels}))
    assert score_mine(untrained) == 1
    capsys.readouterr()
    assert score_mine(untrained, "--labels", "ball=ball,rod=rod") == 0
    named = [line for line in capsys.readouterr().out.splitlines() if "refined  ball" in line]
    assert named == whole
    assert len(whole) == 1


def test_a_data_set_of_nnunet_is_scored_as_the_same_one_of_msd(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score_mine(untrained) == 0
    whole = capsys.readouterr().out.splitlines()[1:]
    data = json.loads(untrained.read_text())
    home = tmp_path / "Dataset007_Phantoms"
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (home / folder).mkdir(parents=True)
    for n, entry in enumerate(data["training"]):
        part, name = "Ts" if n < 2 else "Tr", Path(entry["image"]).name.removesuffix(".nii.gz")
        shutil.copy(untrained.parent / entry["image"], home / f"images{part}/{name}_0000.nii.gz")
        shutil.copy(untrained.parent / entry["label"], home / f"labels{part}/{name}.nii.gz")
    shutil.copy(untrained.with_name("cases.csv"), home)
    names = {name: int(value) for value, name in data["labels"].items()}
    layout = {"channel_names": {"0": "MR"}, "labels": names, "numTraining": 4,
              "file_ending": ".nii.gz"}  # fmt: skip
    (home / "dataset.json").write_text(json.dumps(layout))
    assert score_mine(home / "dataset.json") == 0
    assert capsys.readouterr().out.splitlines()[1:] == whole
    layout["channel_names"] = {"0": "T1", "1": "T2"}
    (home / "dataset.json").write_text(json.dumps(layout))
    assert score_mine(home / "dataset.json") == 1
    assert "lacks its channel 'T2'" in capsys.readouterr().err


def test_a_case_that_cannot_be_scored_does_not_cost_the_others(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = json.loads(untrained.read_text())["training"][1]
    path = untrained.parent / entry["label"]
    path.write_bytes(path.read_bytes()[:40])
    assert score_mine(untrained, "--output", str(tmp_path / "out")) == 1
    done = capsys.readouterr()
    assert "phantom-tiny, all: 5 cases" in done.out
    assert "error: not scored: Case 'phantom_001'" in done.err


def test_a_case_whose_files_were_replaced_is_another_one_and_other_places_are_not(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = str(tmp_path / "out")
    assert score_mine(untrained, "--output", out) == 0
    first = capsys.readouterr().out
    monkeypatch.chdir(untrained.parent)
    assert score_mine(Path("dataset.json"), "--output", out) == 0  # spelt in another way
    assert capsys.readouterr().out == first
    entries = json.loads(untrained.read_text())["training"]
    for key in ("image", "label"):
        shutil.copy(entries[1][key], entries[0][key])
    assert score_mine(untrained, "--output", out) == 2
    assert "case 'phantom_000' has other files now" in capsys.readouterr().err


def test_a_case_that_was_mended_is_scored_by_the_same_line(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = json.loads(untrained.read_text())["training"]
    label = untrained.parent / entries[1]["label"]
    kept, out = label.read_bytes(), str(tmp_path / "out")
    label.write_bytes(kept[:40])
    assert score_mine(untrained, "--output", out) == 1
    assert "all: 5 cases" in capsys.readouterr().out
    other = str(tmp_path / "other")  # of which a table lacks the case, too
    assert score_mine(untrained, "--output", other, "--against", f"{out}/scores-all.csv") == 1
    label.write_bytes(kept)
    assert score_mine(untrained, "--output", out) == 0
    done = capsys.readouterr().out
    assert "all: 6 cases" in done
    assert score_mine(untrained, "--against", f"{other}/scores-all.csv") == 0
    assert "scores-all.csv (5 cases): DSC" in capsys.readouterr().out
