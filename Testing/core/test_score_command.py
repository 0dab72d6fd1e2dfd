"""``python Training/score.py``: a model's figures, again, by one command."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from training_runs import run_data, script

from MorseCore.learning.dataset import Case, PreparedCase
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


@pytest.fixture
def untrained(home: Path, tmp_path: Path) -> Path:
    """The same images as a data set of somebody who trained nothing."""
    shutil.copytree(home / "data", tmp_path / "mine")
    (tmp_path / "mine" / "splits.json").unlink()
    return tmp_path / "mine" / "dataset.json"


def score_mine(dataset: Path, *words: str) -> int:
    model = str(find_model("phantom-tiny"))
    return script("score").main([model, str(dataset), *words, "--device", "cpu"])


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
    assert "has 2 channels" in capsys.readouterr().err


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
