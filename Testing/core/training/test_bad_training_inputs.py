"""What users get wrong at the scripts in ``Training``: one sentence, an exit code, nothing left."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from MorseCore.metrics.subjects import subjects_of
from training_runs import script
from wrong_usage import ROWS, Said, data, home, no_training, said, write_table

__all__ = ["data", "home", "no_training", "said"]  # fixtures

MODEL = "phantom-tiny"
ON_TEST = ("--split", "test", "--device", "cpu")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"subject,age\nA,3\n", "names subjects, but has no column 'case'"),
     (bytes(range(256)), "cannot be read as a table")],
)  # fmt: skip
@pytest.mark.parametrize(
    "words",
    [("train", "config.json"), ("score", MODEL, "config.json", *ON_TEST, "--output", "out"),
     ("resolution_shift", MODEL, "config.json", *ON_TEST, "--output", "out"),
     ("ablation", "table.json", "--output", "out"), ("finer_grid", "config.json")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_table_of_subjects_that_is_none_is_found_before_the_work(
    home: Path, said: Said, no_training: None, words: tuple[str, ...], content: bytes, sentence: str
) -> None:
    (home / "data" / "cases.csv").write_bytes(content)
    code, error = said(*words)
    assert code == 1
    assert sentence in error
    assert not (home / "out").exists()


def test_a_table_of_subjects_may_come_from_excel_and_leave_subjects_empty(home: Path) -> None:
    rows = "case,subject\nphantom_000,A\nphantom_001,\nphantom_002,\n"
    (home / "data" / "cases.csv").write_text(rows, encoding="utf-8-sig")
    assert subjects_of(home / "data" / "dataset.json") == {"phantom_000": "A"}


@pytest.mark.parametrize("name", ["ablation", "finer_grid"])
@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [("a", "must be whole numbers with commas between; found 'a'"), ("", "found ''"),
     ("1,,2", "found '1,,2'"), ("1.5", "found '1.5'"), ("1,2,1", "names a number twice")],
)  # fmt: skip
def test_seeds_that_are_none_are_wrong_usage(
    home: Path, said: Said, name: str, seeds: str, sentence: str
) -> None:
    file = "table.json" if name == "ablation" else "config.json"
    code, error = said(name, file, "--output", "out", "--seeds", seeds)
    assert code == 2
    assert sentence in error
    assert not (home / "out").exists()


@pytest.mark.parametrize("words", [("--row", "nonsense"), ("sed=3",), ("--folds=-1",)])
def test_wrong_usage_of_a_table_leaves_no_folder(
    home: Path, said: Said, words: tuple[str, ...]
) -> None:
    assert said("ablation", "table.json", "--output", "out", *words)[0] == 2
    assert not (home / "out").exists()


@pytest.mark.parametrize("fold", [0, 9])
def test_a_fold_or_a_file_that_is_not_there_is_found_before_the_trainings(
    home: Path, said: Said, no_training: None, fold: int
) -> None:
    if fold == 0:
        (home / "data" / "splits.json").unlink()
    expected = f"found fold {fold}" if fold else "cannot be read"
    for words in (("ablation", "table.json", f"--folds={fold}"),
                  ("finer_grid", "config.json", f"data.fold={fold}")):  # fmt: skip
        code, error = said(*words, "--output", "out")
        assert code == 1
        assert expected in error
        assert not (home / "out").exists()


def test_without_cases_to_score_nothing_is_trained(
    home: Path, said: Said, no_training: None
) -> None:
    split = json.loads((home / "data" / "splits.json").read_text())
    (home / "data" / "splits.json").write_text(json.dumps(split | {"test": []}))
    code, error = said("finer_grid", "config.json", "--output", "out")
    assert (code, "The split 'test' holds no cases" in error) == (2, True)
    (home / "data" / "splits.json").write_text(json.dumps({"train": split["train"]}))
    code, error = said("ablation", "table.json", "--output", "out")
    assert (code, "holds neither test nor validation cases" in error) == (1, True)
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": [ROWS[0] | {"set": {"name.x": 1}}]}, "Row 'a': 'name.x' cannot be set: 'name'"),
        ({"measures": ["dyce"]}, "'measures' must be some of dice, jaccard"),
        ({"measures": []}, "'measures' must be some of dice, jaccard"),
    ],
)
def test_a_table_that_makes_no_sense_is_wrong_usage(
    home: Path, said: Said, no_training: None, changes: dict[str, Any], sentence: str
) -> None:
    write_table(home, **changes)
    code, error = said("ablation", "table.json", "--output", "out")
    assert code == 2
    assert sentence in error


def test_a_table_whose_rows_fail_ends_with_a_sentence(home: Path, said: Said) -> None:
    code, error = said("ablation", "table.json", "device=gpu", "--output", "out")
    assert code == 1
    assert error.startswith("error: 1 of 1 rows failed, first 'a': The device must be auto")
    assert "The device must be auto" in (home / "out" / "table.md").read_text(encoding="utf-8")


def test_runs_are_not_put_below_a_file(home: Path, said: Said) -> None:
    (home / "out").mkdir()
    (home / "out" / "runs").write_text("text")
    code, error = said("ablation", "table.json", "--output", "out")
    assert (code, "its folder is a file" in error) == (1, True)


def test_without_a_table_there_is_a_sentence_too(said: Said) -> None:
    assert said("ablation") == (2, "error: Name one of these tables, or a JSON file.")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [(("--output", "file.txt"), 1, "cannot be written"),
     (("--against", "gone.csv"), 1, "is no table of scores"),
     (("--against", "empty.csv"), 2, "holds other cases or structures"),
     (("--labels", ""), 2, "--labels takes STRUCTURE=LABEL,…; found ''")],
)  # fmt: skip
def test_what_scores_are_written_to_or_compared_with_is_checked_before_they_are_made(
    home: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, str],
    code: int,
    sentence: str,
) -> None:
    (home / "empty.csv").write_text("")
    monkeypatch.setattr("MorseCore.training.validation.Validator.scores", None)
    found, error = said("score", MODEL, "config.json", *ON_TEST, *words)
    assert found == code
    assert sentence in error


def test_one_stage_alone_is_nothing_to_compare_with(home: Path, said: Said) -> None:
    words = (MODEL, "config.json", *ON_TEST)
    assert script("score").main([*words, "--output", "out"]) == 0
    lines = (home / "out" / "scores-test.csv").read_text().splitlines()
    (home / "half.csv").write_text("\n".join(line for line in lines if "refined" not in line))
    code, error = said("score", *words, "--against", "half.csv")
    assert (code, "holds other cases or structures" in error) == (2, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--band", "nan"), 2), (("--band", "inf"), 2), (("--device", "gpu"), 2)],
)
def test_an_option_of_the_uncertainty_that_makes_no_sense_leaves_no_folder(
    home: Path, said: Said, words: tuple[str, str], code: int
) -> None:
    found, error = said("uncertainty", MODEL, "config.json", *ON_TEST, "--output", "out", *words)
    assert found == code
    assert words[1] in error
    assert not (home / "out").exists()


def test_a_damaged_file_of_a_case_is_named(home: Path, said: Said) -> None:
    words = (MODEL, "config.json", *ON_TEST, "--output", "out")
    assert script("uncertainty").main(list(words)) == 0
    (home / "out" / "cases" / "plain" / "phantom_003.json").write_text('{"vox')
    code, error = said("uncertainty", *words)
    assert (code, "phantom_003.json' cannot be read as JSON" in error) == (2, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--inputs", "0"), "must lie in [0.1, 8]; found 0.0"),
     (("--inputs", "a"), "must be numbers with commas between; found 'a'"),
     (("--outputs", "-1"), "found -1.0"), (("--outputs", "0.5;1"), "found '0.5;1'"),
     (("--inputs", "", "--outputs", ","), "there is nothing to score")],
)  # fmt: skip
def test_factors_that_make_no_sense_leave_no_folder(
    home: Path, said: Said, words: tuple[str, ...], sentence: str
) -> None:
    code, error = said(
        "resolution_shift", MODEL, "config.json", *ON_TEST, "--output", "out", *words
    )
    assert code == 2
    assert sentence in error
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [("", "does not end in .png"), ("/", "does not end in .png"), ("folder.png", "is a folder"),
     ("data/images/phantom_000.nii.gz", "does not end in .png"),
     ("gone/o.png", "its folder does not exist")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["points", "gates"])
def test_a_picture_needs_the_name_of_a_file_before_it_is_computed(
    home: Path, said: Said, monkeypatch: pytest.MonkeyPatch, kind: str, output: str, sentence: str
) -> None:
    monkeypatch.setattr("MorseCore.inference.predictor.VolumePredictor", None)
    scan = home / "data" / "images" / "phantom_000.nii.gz"
    (home / "folder.png").mkdir(exist_ok=True)
    code, error = said("figures", kind, MODEL, scan, "--output", output, "--device", "cpu")
    assert code == 1
    assert sentence in error


@pytest.mark.parametrize(
    ("value", "sentence"), [(7, "every voxel has the value 7"), (np.nan, "No voxel of the image")]
)
def test_gates_are_not_drawn_of_what_is_no_scan(
    home: Path, said: Said, value: float, sentence: str
) -> None:
    image = SimpleITK.GetImageFromArray(np.full((4, 8, 8), value, np.float32))
    SimpleITK.WriteImage(image, str(home / "bad.nii.gz"))
    words = ("gates", MODEL, "bad.nii.gz", "--output", "o.png", "--device", "cpu")
    code, error = said("figures", *words)
    assert (code, sentence in error) == (1, True)
    assert not (home / "o.png").exists()
