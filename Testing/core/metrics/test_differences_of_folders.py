"""``evaluate``: what is left out is listed, and two folders are compared case by case."""

import json
from pathlib import Path

import pytest

from label_maps import DIAGONAL, folders, save, structure, two_boxes
from MorseCore.commands.cli import main
from MorseCore.errors import DatasetError
from MorseCore.metrics.evaluation import evaluate_folder, format_table

__all__ = ["folders"]  # a fixture


def test_a_structure_that_the_model_does_not_have_is_left_out_and_listed(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    prediction, reference = folders
    for case in ("a", "b"):
        (prediction / case).mkdir()
        (prediction / f"{case}.nii.gz").rename(prediction / case / "refined.nii.gz")
        report = {"labels": [{"value": 1, "name": "liver"}]}
        (prediction / case / "report.json").write_text(json.dumps(report), encoding="utf-8")
    words = ["evaluate", "--prediction", str(prediction), "--reference", str(reference)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "liver" in printed
    assert "Left out, since they are none of the structures: the values 2." in printed


def test_cases_without_a_prediction_are_left_out_if_so_wished(
    folders: tuple[Path, Path],
) -> None:
    prediction, reference = folders
    (prediction / "b.nii.gz").unlink()
    summary = evaluate_folder(prediction, reference, only_predicted=True)
    assert (summary["cases"], summary["unpredicted"]) == (1, ["b"])
    assert structure(summary, 1)["n_missed"] == 0
    assert "Left out, since they were not predicted: 1 (b)." in format_table(summary)


def test_one_miss_does_not_hide_the_distances_of_what_was_found(
    folders: tuple[Path, Path],
) -> None:
    prediction, reference = folders
    (prediction / "b.nii.gz").unlink()
    summary = evaluate_folder(prediction, reference)
    assert summary["stages"]["prediction"]["mean"]["hd95"]["mean"] == pytest.approx(DIAGONAL / 2)
    assert "HD95 without the missed and spurious ones: prediction 0.00 mm." in format_table(summary)


@pytest.fixture
def two_folders(tmp_path: Path) -> list[Path]:
    """Predictions that are right, others that are shifted in one of two cases, and references."""
    for case, shift in (("a", 0), ("b", 1)):
        for name in ("right", "truth"):
            save(tmp_path / name / f"{case}.nii.gz", two_boxes())
        save(tmp_path / "shifted" / f"{case}.nii.gz", two_boxes(shift=shift))
    return [tmp_path / name for name in ("right", "shifted", "truth")]


def test_two_folders_are_compared_case_by_case(two_folders: list[Path]) -> None:
    right, shifted, truth = two_folders
    row = evaluate_folder(right, truth, against=shifted)["against"]
    gains = row["mean"]["dice"]["differences"]
    assert gains["a"] == 0
    assert gains["b"] > 0
    assert row["mean"]["dice"]["difference"] == pytest.approx(gains["b"] / 2)
    assert row["mean"]["dice"]["low"] == 0  # one of two cases
    assert row["mean"]["hd95"]["difference"] < 0
    turned = evaluate_folder(shifted, truth, against=right)["against"]
    assert turned["1"]["dice"]["difference"] == -row["1"]["dice"]["difference"]


def test_the_command_draws_the_comparison(
    two_folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, shifted, truth = two_folders
    words = ["--prediction", right, "--reference", truth, "--against", shifted]
    assert main(["evaluate", *map(str, words), "--output", str(tmp_path / "scores.json")]) == 0
    assert "prediction - against, mean, DSC: +" in capsys.readouterr().out
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "scores.csv").is_file()


def test_folders_that_share_no_predicted_case_are_refused(two_folders: list[Path]) -> None:
    right, shifted, truth = two_folders
    (right / "a.nii.gz").unlink()
    (shifted / "b.nii.gz").unlink()
    with pytest.raises(DatasetError, match="No case is predicted in both folders"):
        evaluate_folder(right, truth, against=shifted, only_predicted=True)
