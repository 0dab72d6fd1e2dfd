"""Evaluation of folders: nothing is skipped, grids must agree, coarse and refined side by side."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from label_maps import DIAGONAL, GRID, SHAPE, folders, save, structure, two_boxes
from MorseCore.errors import DatasetError, GeometryError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.images.segmentationfile import write_segmentation_nrrd
from MorseCore.metrics.casetable import read_cases
from MorseCore.metrics.differences import bootstrap_difference
from MorseCore.metrics.evaluation import evaluate_folder, format_table
from MorseCore.metrics.scores import Rule
from MorseCore.metrics.subjects import read_subjects

__all__ = ["folders"]  # a fixture


def test_a_flat_folder_is_scored_in_millimetres(folders: tuple[Path, Path]) -> None:
    summary = evaluate_folder(*folders, labels={0: "background", 1: "liver", 2: "spleen"})

    liver, spleen = structure(summary, 1), structure(summary, 2)
    assert summary["cases"] == 2
    assert (liver["name"], liver["dice"]["mean"]) == (
        "liver",
        0.75,
    )  # 1 and, one of two slices, 0.5
    assert liver["hd95"]["mean"] == 1.5  # 0 and one slice of 3 mm
    assert (spleen["dice"]["mean"], spleen["hd95"]["mean"]) == (1, 0)
    assert summary["stages"]["prediction"]["mean"]["dice"]["mean"] == 0.875
    assert "comparison" not in summary


def test_a_case_without_prediction_counts_as_missed(
    folders: tuple[Path, Path],
) -> None:
    prediction, reference = folders
    (prediction / "b.nii.gz").unlink()

    summary = evaluate_folder(prediction, reference)

    for label in (1, 2):
        part = structure(summary, label)
        assert (part["n"], part["n_missed"], part["dice"]["mean"]) == (2, 1, 0.5)
        assert part["hd95"]["mean"] == pytest.approx(DIAGONAL / 2)
        assert part["hd95"]["valid_mean"] == 0
    assert summary["missing"] == {"prediction": ["b"]}
    assert "counted as missed: 1 (b)" in format_table(summary)


def test_a_prediction_without_reference_is_warned_about(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    prediction, reference = folders
    save(prediction / "c.nii.gz", two_boxes())

    with caplog.at_level(logging.WARNING):
        summary = evaluate_folder(prediction, reference)

    assert (summary["extra"], summary["cases"]) == (["c"], 2)
    assert "no reference" in caplog.text


def test_coarse_and_refined_stand_side_by_side_with_their_difference(tmp_path: Path) -> None:
    for case in ("a", "b", "c"):
        save(tmp_path / "reference" / f"{case}.nii.gz", two_boxes())
        save(tmp_path / "run" / case / "coarse.nii.gz", two_boxes(shift=1))
        save(tmp_path / "run" / case / "refined.nii.gz", two_boxes())
        write_volume(tmp_path / "run" / case / "uncertainty.nii.gz", np.zeros(SHAPE), GRID)
    (tmp_path / "run" / "summary.csv").touch()

    summary = evaluate_folder(tmp_path / "run", tmp_path / "reference")

    assert list(summary["stages"]) == ["coarse", "refined"]
    assert structure(summary, 1, stage="coarse")["dice"]["mean"] == 0.5
    assert structure(summary, 1, stage="refined")["dice"]["mean"] == 1
    # The mean over both structures rises from 0.75 to 1 in each case alike.
    assert summary["comparison"]["dice"] == {"difference": 0.25, "low": 0.25, "high": 0.25}
    assert summary["comparison"]["hd95"]["difference"] == -1.5
    table = format_table(summary).splitlines()
    assert table[0].split()[:2] == ["DSC", "Jaccard"]
    assert table[1].split()[:3] == ["structure", "coarse", "refined"]
    assert table[3].split()[:3] == ["1", "0.5000", "1.0000"]
    assert "DSC: +0.2500  (95 % interval +0.2500 to +0.2500)" in "\n".join(table)


def test_a_stage_that_one_case_lacks_counts_as_missed_for_that_stage(tmp_path: Path) -> None:
    for case in ("a", "b"):
        save(tmp_path / "reference" / f"{case}.nii.gz", two_boxes())
        save(tmp_path / "run" / case / "coarse.nii.gz", two_boxes())
    save(tmp_path / "run" / "a" / "refined.nii.gz", two_boxes())

    summary = evaluate_folder(tmp_path / "run", tmp_path / "reference")

    assert summary["missing"] == {"coarse": [], "refined": ["b"]}
    assert structure(summary, 1, stage="refined")["n_missed"] == 1
    assert structure(summary, 1, stage="coarse")["n_missed"] == 0


def test_a_structure_that_a_case_has_in_neither_map_is_absent(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        save(folder / "c.nii.gz", np.where(two_boxes() == 1, 1, 0))

    part = structure(evaluate_folder(*folders), 2)

    assert (part["n"], part["n_absent"], part["n_missed"], part["n_spurious"]) == (3, 1, 0, 0)


def test_a_spurious_structure_is_penalised_and_counted(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "b.nii.gz", np.where(two_boxes() == 1, 1, 0))

    summary = evaluate_folder(*folders)

    part = structure(summary, 2)
    assert (part["n_spurious"], part["dice"]["mean"]) == (1, 0.5)
    assert part["asd"]["mean"] == pytest.approx(DIAGONAL / 2)
    assert "has none): prediction 1." in format_table(summary)


def test_a_value_that_no_reference_has_is_warned_about(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    prediction, reference = folders
    save(prediction / "a.nii.gz", np.where(two_boxes() == 2, 7, two_boxes()))

    with caplog.at_level(logging.WARNING):
        summary = evaluate_folder(prediction, reference)

    assert list(summary["stages"]["prediction"]["structures"]) == ["1", "2"]
    assert "[7]" in caplog.text


def test_slicer_segmentations_are_read_too(folders: tuple[Path, Path]) -> None:
    prediction, reference = folders
    (prediction / "a.nii.gz").unlink()
    write_segmentation_nrrd(prediction / "a.seg.nrrd", two_boxes(), GRID, structures=())

    assert structure(evaluate_folder(prediction, reference), 2)["dice"]["mean"] == 1


@pytest.mark.parametrize(
    "grid",
    [
        Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0])),
        GRID.crop((0, 0, 0), (6, 8, 9)),
        Geometry(SHAPE, np.diag([-1.0, 1.0, 3.0, 1.0])),
    ],
)
def test_a_prediction_on_another_grid_is_refused(
    folders: tuple[Path, Path], grid: Geometry
) -> None:
    prediction, reference = folders
    save(prediction / "b.nii.gz", two_boxes()[:, :, : grid.shape[2]], grid=grid)
    with pytest.raises(GeometryError, match=r"'b' lies on another grid.* not 10 x 8 x 6 voxels"):
        evaluate_folder(prediction, reference)


@pytest.mark.parametrize("wrong", [0.5, -1.0, 70000.0])
def test_a_map_that_is_no_label_map_is_refused(folders: tuple[Path, Path], wrong: float) -> None:
    prediction, reference = folders
    array = two_boxes().astype(np.float32)
    array[0, 0, 0] = wrong
    write_volume(prediction / "b.nii.gz", array, GRID)
    with pytest.raises(DatasetError, match=r"'b': b\.nii\.gz is not a label map"):
        evaluate_folder(prediction, reference)


def test_whole_numbers_stored_as_floats_are_labels(folders: tuple[Path, Path]) -> None:
    prediction, reference = folders
    write_volume(prediction / "b.nii.gz", two_boxes().astype(np.float32), GRID)
    assert structure(evaluate_folder(prediction, reference), 1)["dice"]["mean"] == 1


def test_an_unreadable_file_names_its_case(folders: tuple[Path, Path]) -> None:
    prediction, reference = folders
    (prediction / "b.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"Case 'b': .*empty"):
        evaluate_folder(prediction, reference)


def test_folders_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    reference, prediction = tmp_path / "reference", tmp_path / "prediction"
    with pytest.raises(DatasetError, match="no reference folder"):
        evaluate_folder(prediction, reference)
    reference.mkdir()
    with pytest.raises(DatasetError, match=r"reference folder .* holds no label maps"):
        evaluate_folder(prediction, reference)
    save(reference / "a.nii.gz", two_boxes())
    prediction.mkdir()
    with pytest.raises(DatasetError, match=r"prediction folder .* holds no label maps"):
        evaluate_folder(prediction, reference)
    save(prediction / "x.nii.gz", two_boxes())
    with pytest.raises(DatasetError, match=r"called 'x' .* 'a'"):
        evaluate_folder(prediction, reference)
    save(prediction / "x.nrrd", two_boxes())
    with pytest.raises(DatasetError, match="'x' has two files"):
        evaluate_folder(prediction, reference)


def test_references_without_any_structure_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", np.zeros(SHAPE))
    with pytest.raises(DatasetError, match="empty"):
        evaluate_folder(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["result.json", "result.csv", "result"])
def test_the_cases_go_to_csv_and_the_summary_to_json(
    folders: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    summary = evaluate_folder(*folders, output=tmp_path / "new" / name, labels={1: "liver"})

    rows = list(csv.DictReader((tmp_path / "new" / "result.csv").read_text().splitlines()))
    assert [(row["case"], row["structure"], row["dice"]) for row in rows] == [
        ("a", "liver", "1"),
        ("b", "liver", "0.5"),
    ]
    assert float(rows[0]["reference_ml"]) == pytest.approx(18 * 3 / 1000)
    assert json.loads((tmp_path / "new" / "result.json").read_text()) == summary
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_the_interval_is_paired_seeded_and_around_the_difference() -> None:
    rng = np.random.default_rng(3)
    before = rng.uniform(0, 1, 200)  # spread far wider than the difference
    after = before + rng.normal(0.02, 0.01, 200)

    first = bootstrap_difference(before.tolist(), after.tolist())

    assert first == bootstrap_difference(before.tolist(), after.tolist())
    assert first["low"] < first["difference"] < first["high"]
    # 95 % interval of a mean of 200 with deviation 0.01: +/- 1.96 * 0.01 / sqrt(200).
    assert first["high"] - first["low"] == pytest.approx(2 * 1.96 * 0.01 / 200**0.5, rel=0.2)


def test_what_was_written_of_the_cases_is_read_again(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    evaluate_folder(*folders, output=tmp_path / "scores.csv")
    cases = read_cases(tmp_path / "scores.csv")
    assert set(cases) == {"a", "b"}
    half = cases["b"]["prediction"]
    assert (half.structures[1].dice, half.structures[1].hd95) == (0.5, 3)
    assert half.structures[1].status == "both"
    assert 0.9 < half.background_jaccard < 1
    (tmp_path / "other.csv").write_text("case,dice\na,1\n")
    with pytest.raises(DatasetError, match="no table of scores"):
        read_cases(tmp_path / "other.csv")


def test_the_rule_of_the_papers_code_is_named_where_it_was_used(
    folders: tuple[Path, Path],
) -> None:
    (folders[0] / "b.nii.gz").unlink()
    summary = evaluate_folder(*folders, rule="legacy")
    assert summary["stages"]["prediction"]["mean"]["hd95"]["mean"] == 0  # b is missed
    assert "Not to be compared" in format_table(summary)


@pytest.mark.parametrize(
    ("rule", "unit"), [("mm", "mm"), ("voxel", "voxels"), ("legacy", "voxels")]
)
def test_the_columns_of_distances_name_the_rules_unit(
    folders: tuple[Path, Path], tmp_path: Path, rule: Rule, unit: str
) -> None:
    evaluate_folder(*folders, output=tmp_path / "scores.csv", rule=rule)
    head = (tmp_path / "scores.csv").read_text().splitlines()[0].split(",")
    assert [n for n in head if n.startswith(("hd95", "asd", "assd"))] == [
        f"hd95_{unit}", f"asd_{unit}", f"assd_{unit}",
    ]  # fmt: skip
    if unit == "mm":
        assert set(read_cases(tmp_path / "scores.csv")) == {"a", "b"}
    else:
        with pytest.raises(DatasetError, match="its distances are in voxels, not in mm"):
            read_cases(tmp_path / "scores.csv")


@pytest.mark.parametrize("labels", [None, {1: "liver", 2: "spleen"}])
@pytest.mark.parametrize(("rule", "dice"), [("mm", 1.0), ("voxel", 1.0), ("legacy", 0.0)])
def test_what_is_absent_from_both_maps_scores_by_the_rule(
    folders: tuple[Path, Path], labels: dict[int, str] | None, rule: Rule, dice: float
) -> None:
    for folder in folders:
        save(folder / "a.nii.gz", np.where(two_boxes() == 1, 1, 0))
        (folder / "b.nii.gz").unlink()
        save(folder / "c.nii.gz", two_boxes())
    part = structure(evaluate_folder(*folders, rule=rule, labels=labels), 2)
    assert (part["n_absent"], part["dice"]["mean"]) == (1, (1 + dice) / 2)
    assert part["hd95"]["mean"] == 0


def test_the_table_is_aligned(folders: tuple[Path, Path]) -> None:
    table = format_table(evaluate_folder(*folders, labels={1: "liver", 2: "left adrenal gland"}))
    lines = table.split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == [
        *("structure", "DSC", "Jaccard", "HD95", "ASD", "missed"),
    ]


# --- whose cases they are, what they are called, and what else the folders hold


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
