"""Scans are found as labs keep them: BIDS, DICOM trees, equal names in several folders, lists."""

import json
import logging
from pathlib import Path

import pytest

from cli_client import CommandLine, names, read_table, write_scan
from dicom_files import write_series
from MorseCore.commands.inputs import Scan, find_cases
from MorseCore.errors import ConfigError
from MorseCore.images.bids import bids_entities, derivative_path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Two subjects, one with two sessions; T1, T2 and a functional scan."""
    root = tmp_path / "study"
    for place in ("sub-01/ses-1", "sub-01/ses-2", "sub-02"):
        stem = place.replace("/", "_")
        touch(root / place / "anat" / f"{stem}_T1w.nii.gz")
        touch(root / place / "func" / f"{stem}_task-rest_bold.nii.gz")
    touch(root / "sub-02" / "anat" / "sub-02_T2w.nii")
    touch(root / "derivatives" / "x" / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz")
    return root


def test_a_bids_data_set_gives_its_anatomical_images_of_the_models_contrast(bids: Path) -> None:
    assert list(find_cases([bids])) == ["sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "sub-02_T1w"]
    assert list(find_cases([bids], contrast="T2")) == ["sub-02_T2w"]
    for image in bids.rglob("sub-*_T1w.nii.gz"):
        image.unlink()
    assert list(find_cases([bids])) == ["sub-02_T2w"]  # a model of any contrast
    with pytest.raises(ConfigError, match=r"no image anat/\*_T1w\.nii\.gz.*found \*_T2w"):
        find_cases([bids], contrast="T1")


def test_entities_and_derivatives_of_bids_names() -> None:
    assert bids_entities("sub-01_ses-pre_run-2_T1w") == ("01", "pre")
    assert bids_entities("phantom") == ("", "")
    assert derivative_path("sub-01_ses-2_T1w", "refined", "dseg.nii.gz") == Path(
        "sub-01/ses-2/anat/sub-01_ses-2_desc-refined_dseg.nii.gz"
    )
    assert derivative_path("sub-3_T1w", "coarse", "dseg.tsv") == Path(
        "sub-3/anat/sub-3_desc-coarse_dseg.tsv"
    )


def test_every_series_of_a_dicom_tree_is_a_case_and_is_listed_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "archive"
    write_series(root / "p1" / "head", 3, series=1)
    both = root / "p2" / "study"
    write_series(both, 3, series=1)
    write_series(both, 4, series=2)
    with caplog.at_level(logging.INFO):
        found = find_cases([root])
    uid = "1.2.826.0.1.3680043.10.543.2"
    assert found == {
        "p1_head": Scan(root / "p1" / "head"),
        f"p2_study_{uid}.1": Scan(both, f"{uid}.1"),
        f"p2_study_{uid}.2": Scan(both, f"{uid}.2"),
    }
    assert caplog.text.count("found ") == 3
    assert "'Series 2' (4 images, CT" in caplog.text
    chosen = find_cases([root], series=f"{uid}.2")
    assert list(chosen) == [f"p2_study_{uid}.2"]


def test_series_with_numbers_are_called_by_them(tmp_path: Path) -> None:
    for n in (1, 2):
        write_series(
            tmp_path / "tree" / "p", 2, series=n,
            edit=lambda data, _, n=n: setattr(data, "SeriesNumber", 10 * n),
        )  # fmt: skip
    assert list(find_cases([tmp_path / "tree"])) == ["p_series10", "p_series20"]


def test_a_series_of_a_tree_is_the_one_that_is_segmented(
    command: CommandLine, tmp_path: Path
) -> None:
    for n, count in ((1, 6), (2, 9)):
        write_series(
            tmp_path / "tree" / "p", count, series=n,
            edit=lambda data, _, n=n: setattr(data, "SeriesNumber", n),
        )  # fmt: skip
    done = command.segment(tmp_path / "tree", output=tmp_path / "out", passes=0)
    assert done.code == 0, done.err
    slices = {
        name: json.loads((tmp_path / "out" / name / "report.json").read_text("utf-8"))["input"][
            "shape_kji"
        ][0]
        for name in ("p_series1", "p_series2")
    }
    assert slices == {"p_series1": 6, "p_series2": 9}


def test_equal_names_in_folders_are_called_by_their_paths(tmp_path: Path) -> None:
    for place in (
        "t1.nii.gz",
        "a/t1.nii.gz",
        "b/deep/t1.nii.gz",
        "b/deep/t2.nii.gz",
        ".hid/t1.nii",
    ):
        touch(tmp_path / "in" / place)
    root = tmp_path / "in"
    assert {name: scan.path for name, scan in find_cases([root]).items()} == {
        "t1": root / "t1.nii.gz",
        "a_t1": root / "a" / "t1.nii.gz",
        "b_deep_t1": root / "b" / "deep" / "t1.nii.gz",
        "b_deep_t2": root / "b" / "deep" / "t2.nii.gz",
    }
    chosen = [root / "a" / "t1.nii.gz", root / "b" / "deep" / "t1.nii.gz"]
    assert list(find_cases(chosen)) == ["a_t1", "b_deep_t1"]
    assert list(find_cases([tmp_path / "in" / "*" / "t1.nii.gz", chosen[0]])) == ["t1"]


def test_results_in_a_folder_are_not_its_scans(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    for name in ("report.json", "coarse.nii.gz"):
        touch(tmp_path / "out" / "a" / name)
    touch(tmp_path / "cohort" / "pictures" / "a.jpg")
    touch(tmp_path / "cohort" / "summary.csv")
    assert list(find_cases([tmp_path])) == ["a"]


def test_a_list_names_scans_and_what_they_are_called(command: CommandLine, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "x.nii.gz", seed=28)
    table = tmp_path / "study.csv"
    table.write_text(
        "case,path,age\nfirst,in/x.nii.gz,40\n,in/gone.nii.gz,41\n", encoding="utf-8-sig"
    )
    done = command.segment(table, output=tmp_path / "out", passes=0)
    assert done.code == 1
    assert names(tmp_path / "out") >= {"first"}
    rows = {row["case"]: row["status"] for row in read_table(tmp_path / "out" / "summary.csv")}
    assert rows == {"first": "done", "gone": "failed"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image\na.nii\n", "needs a column 'path'.*found 'image'"),
        ("", "found nothing"),
        ("path\n", "no image to segment"),
        ("path,case\na.nii,../up\n", "no folder can be called"),
        ("path,case\na.nii,x\nb.nii,x\n", "both be written to 'x'"),
    ],
)
def test_a_list_that_makes_no_sense_is_one_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        find_cases([tmp_path / "list.csv"])
