"""Evaluation of folders: whose cases they are, what they are called, and what else they hold."""

import logging
from pathlib import Path

import pytest

from label_maps import folders, save, structure, two_boxes
from MorseCore.errors import DatasetError
from MorseCore.metrics.evaluation import evaluate_folder, format_table
from MorseCore.metrics.subjects import read_subjects

__all__ = ["folders"]  # a fixture


def test_intervals_over_subjects_take_two_cases_of_one_as_one(tmp_path: Path) -> None:
    """Of two subjects the one gains nothing in both cases, the other everything in its one."""
    for case, shift in (("a1", 0), ("a2", 0), ("b", 1)):
        save(tmp_path / "reference" / f"{case}.nii.gz", two_boxes())
        save(tmp_path / "run" / case / "coarse.nii.gz", two_boxes(shift=shift))
        save(tmp_path / "run" / case / "refined.nii.gz", two_boxes())
    (tmp_path / "run" / "summary.csv").touch()
    by_case = evaluate_folder(tmp_path / "run", tmp_path / "reference")
    assert by_case["comparison"]["dice"]["difference"] == pytest.approx(0.25 / 3)
    assert "take the 3 cases for independent" in format_table(by_case)

    subjects = {"a1": "A", "a2": "A", "b": "B"}
    summary = evaluate_folder(tmp_path / "run", tmp_path / "reference", subjects=subjects)
    assert (summary["cases"], summary["subjects"]) == (3, 2)
    assert summary["comparison"]["dice"] == {"difference": 0.125, "low": 0.0, "high": 0.25}
    assert "over 2 subjects" in format_table(summary)


def test_masks_of_nnunet_s_channel_files_are_those_of_their_cases(tmp_path: Path) -> None:
    save(tmp_path / "labelsTr" / "case.nii.gz", two_boxes())
    save(tmp_path / "run" / "case_0000" / "refined.nii.gz", two_boxes())
    summary = evaluate_folder(tmp_path / "run", tmp_path / "labelsTr")
    assert structure(summary, 1, stage="refined")["dice"]["mean"] == 1


def test_values_of_a_reference_that_are_no_structure_are_warned_about(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        evaluate_folder(*folders, labels={2: "two"})
    assert "[1]; they are not scored" in caplog.text


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_subjects_may_come_from_any_spreadsheet(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(f"case{mark}subject\na.nii.gz{mark}A\nb{mark}A\n")
    assert read_subjects(path) == {"a": "A", "b": "A"}


def test_the_summary_lies_beside_the_table_also_where_a_folder_has_its_name(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "left").mkdir()
    evaluate_folder(*folders, output=tmp_path / "left.json")
    assert (tmp_path / "left.json").is_file()
    assert (tmp_path / "left.csv").is_file()
    assert not list((tmp_path / "left").iterdir())


def test_a_mask_that_is_named_like_its_case_is_not_replaced_by_a_channel_s(tmp_path: Path) -> None:
    save(tmp_path / "labelsTr" / "case.nii.gz", two_boxes())
    save(tmp_path / "run" / "case" / "refined.nii.gz", two_boxes())
    save(tmp_path / "run" / "case_0000" / "refined.nii.gz", two_boxes(shift=1))
    summary = evaluate_folder(tmp_path / "run", tmp_path / "labelsTr")
    assert structure(summary, 1, stage="refined")["dice"]["mean"] == 1
    assert summary["extra"] == ["case_0000"]


def test_a_table_of_subjects_of_other_cases_is_refused_before_anything_is_written(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="names none of the cases; it has 'x' …, the references"):
        evaluate_folder(*folders, output=tmp_path / "out.json", subjects={"x": "X"})
    assert not list(tmp_path.glob("out.*"))
