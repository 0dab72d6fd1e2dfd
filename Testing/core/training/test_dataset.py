"""A data set is checked before anything is trained, and every message names the case."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from data_sets import ALONE, LABELS, cube, opened, prepared, write_case, write_dataset
from MorseCore.errors import DatasetError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.images.preparation import Preparation
from MorseCore.training.dataset import absent_labels, open_dataset, prepare_case


def test_the_paths_count_and_not_the_names_of_folders(tmp_path: Path):
    data = opened(tmp_path, {"train": ["case_a", "case_c"], "val": ["case_b"]})
    assert [case.name for case in data.splits["train"]] == ["case_a", "case_c"]
    assert data.splits["val"][0].image == tmp_path / "pictures" / "case_b.nii.gz"
    assert data.splits["test"] == ()
    assert (data.name, data.licence, data.num_classes) == ("Cubes", "CC0", 2)


def test_test_images_with_labels_are_cases(tmp_path: Path):
    entry = write_case(tmp_path, "case_t", cube(), cube())
    split = {"train": ["case_a"], "test": ["case_t"]}
    data = opened(tmp_path, split, test=[entry["image"]], test_labels=[entry["label"]])
    assert data.splits["test"][0].label == tmp_path / "truth" / "case_t.nii.gz"


def test_test_images_without_labels_are_no_cases(tmp_path: Path):
    with pytest.raises(DatasetError, match="'case_t', which the data set does not have with a lab"):
        opened(tmp_path, {"train": ["case_t"]}, test=["./pictures/case_t.nii.gz"])


def test_test_images_with_labels_for_some_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="2 test images, but 1 test labels"):
        opened(tmp_path, test=["./a.nii.gz", "./b.nii.gz"], test_labels=["./a.nii.gz"])


def test_labels_may_be_turned_round_as_in_nnunet(tmp_path: Path):
    data = opened(tmp_path, labels={"background": 0, "rod": 2, "ball": 1})
    assert data.labels == {0: "background", 1: "ball", 2: "rod"}


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "2": "ball"},
        {"1": "ball", "2": "rod"},
        {"0": "background"},
        {"background": 0, "whole": [1, 2]},
        {"background": 0, "ball": 1, "rod": 1},
        {"background": 0, "ball": -1},
        {},
        ["background", "ball"],
    ],
)
def test_labels_that_are_not_numbered_without_a_gap_are_refused(tmp_path: Path, labels):
    with pytest.raises(DatasetError, match=r"must number its labels|names no labels"):
        opened(tmp_path, labels=labels)


def test_a_fold_is_chosen_from_a_list(tmp_path: Path):
    folds = [{"train": ["case_a"], "val": ["case_b"]}, {"train": ["case_b"], "val": ["case_a"]}]
    assert opened(tmp_path, folds, fold=1).splits["train"][0].name == "case_b"
    with pytest.raises(DatasetError, match="2 folds, counted from 0; found 2"):
        opened(tmp_path, folds, fold=2)
    with pytest.raises(DatasetError, match="no list of folds"):
        opened(tmp_path, folds[0], fold=1)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"train": ["case_d"]}, "'case_d'.*did you mean 'case_"),
        ({"train": ["case_a"], "val": ["case_a"]}, "'case_a' is in 'train' and in 'val'"),
        ({"train": ["case_a", "case_a"]}, "'case_a' is twice in 'train'"),
        ({"train": []}, "no training case"),
        ({"train": "case_a"}, "must be a list"),
        ({"train": ["case_a"], "valid": ["case_b"]}, "unknown split 'valid'.*did you mean 'val'"),
        ("case_a", "must hold 'train' and 'val'"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(tmp_path: Path, split, expected):
    with pytest.raises(DatasetError, match=expected):
        opened(tmp_path, split)


def test_notes_in_a_split_file_are_let_be(tmp_path: Path):
    assert opened(tmp_path, {"seed": 3, "note": "by subject", **ALONE}).splits["train"]


def test_a_case_that_is_listed_twice_is_refused(tmp_path: Path):
    entry = write_case(tmp_path, "case_a", cube(), cube())
    with pytest.raises(DatasetError, match="lists the case 'case_a' twice"):
        opened(tmp_path, training=[entry, entry])


@pytest.mark.parametrize("training", [[{"image": "a.nii.gz"}], ["a.nii.gz"], {}, "a", []])
def test_a_case_needs_an_image_and_a_label(tmp_path: Path, training):
    with pytest.raises(DatasetError, match=r"needs an 'image'|must be lists|no image with a label"):
        opened(tmp_path, training=training)


def test_companion_files_of_macos_are_left_out(tmp_path: Path):
    good = write_case(tmp_path, "case_a", cube(), cube())
    bad = {"image": "./pictures/._case_a.nii.gz", "label": "./truth/._case_a.nii.gz"}
    assert [case.name for case in opened(tmp_path, training=[bad, good]).splits["train"]] == [
        "case_a"
    ]


def test_a_missing_file_is_named(tmp_path: Path):
    dataset, split = write_dataset(tmp_path, ALONE)
    (tmp_path / "truth" / "case_a.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"'case_a' lacks its file '.*truth"):
        open_dataset(dataset, split)


def test_a_missing_dataset_or_split_is_named(tmp_path: Path):
    dataset, split = write_dataset(tmp_path, ALONE)
    with pytest.raises(DatasetError, match=r"gone\.json' does not exist"):
        open_dataset(tmp_path / "gone.json", split)
    with pytest.raises(DatasetError, match=r"gone\.json' cannot be read"):
        open_dataset(dataset, tmp_path / "gone.json")


def test_image_and_labels_on_two_grids_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"'case_a'.*\(8, 8, 8\).*\(7, 8, 8\)"):
        prepared(tmp_path, cube(), cube()[1:])


def test_labels_that_lie_apart_from_the_image_are_refused(tmp_path: Path):
    dataset, split = write_dataset(tmp_path, ALONE)
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    write_volume(tmp_path / "truth" / "case_a.nii.gz", cube(), Geometry((8, 8, 8), shifted))
    case = open_dataset(dataset, split).splits["train"][0]
    with pytest.raises(DatasetError, match="they lie apart"):
        prepare_case(case, Preparation((8, 8, 8)), num_classes=2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9999, "not whole numbers"),
        (np.nan, "not whole numbers"),
        (-1.0, "found -1 to 1"),
        (2.0, "found 0 to 2"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, value, expected):
    labels = cube()
    labels[0, 0, 0] = value
    with pytest.raises(DatasetError, match=f"'case_a'.*{expected}"):
        prepared(tmp_path, cube(), labels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_background_as_in_what_is_segmented(
    tmp_path: Path, value, caplog
):
    image = cube()
    image[0, 0, 0] = value
    with caplog.at_level("WARNING"):
        case = prepared(tmp_path, image, cube())
    assert np.isfinite(case.image).all()
    assert "case_a.mha: 1 of 512 voxels (0.2 %) have no value" in caplog.text


def test_an_image_of_one_value_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"'case_a': every voxel of the image has one value"):
        prepared(tmp_path, np.ones_like(cube()), cube())


def test_other_dots_than_the_format_s_belong_to_a_case_s_name(tmp_path: Path):
    names = ["sub.00.T1", "sub.01.T1"]
    entries = [write_case(tmp_path, name, 100 * cube(), cube()) for name in names]
    data = opened(tmp_path, {"train": names}, training=entries)
    assert [case.name for case in data.splits["train"]] == names


def test_a_damaged_file_is_named_with_its_case(tmp_path: Path):
    dataset, split = write_dataset(tmp_path, ALONE)
    path = tmp_path / "pictures" / "case_a.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    case = open_dataset(dataset, split).splits["train"][0]
    with pytest.raises(DatasetError, match="Case 'case_a': "):
        prepare_case(case, Preparation((8, 8, 8)), num_classes=2)


def test_a_case_is_normalised_and_keeps_its_labels(tmp_path: Path):
    case = prepared(tmp_path, 100 * cube(), cube(), spacing=(1.0, 1.0, 1.0))
    assert np.array_equal(np.unique(case.labels), [0, 1])
    assert case.labels.dtype == np.uint8
    assert abs(float(case.image.mean())) < 1e-5
    assert float(case.image.std()) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(case.image > 0, case.labels == 1)


def test_resampling_keeps_the_labels_on_the_image(tmp_path: Path):
    case = prepared(
        tmp_path, 100 * cube(), cube(), spacing=(0.5, 0.5, 2.0), normalisation="range",
        intensity_range=(0.0, 100.0),
    )  # fmt: skip
    assert case.image.shape == case.labels.shape == (4, 16, 16)
    assert case.spacing == (2.0, 0.5, 0.5)
    assert np.array_equal(case.image > 0, case.labels == 1)  # halfway is 0 on the scale -1 … 1
    assert 0 < case.labels.sum() < case.labels.size


def test_a_class_that_no_case_holds_is_told(tmp_path: Path):
    case = prepared(tmp_path, cube(), cube())
    assert absent_labels([case], num_classes=2) == []
    assert absent_labels([case], num_classes=3) == [2]


def test_pictures_make_a_data_set_of_slices(tmp_path: Path):
    picture = np.zeros((12, 20), np.uint8)
    picture[3:6, 4:15] = 200
    for name, array in (("image", picture), ("label", (picture > 0).astype(np.uint8))):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"{name}.png"))
    entry = {"image": "image.png", "label": "label.png"}
    data = {"labels": LABELS, "training": [entry]}
    (tmp_path / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["image"]}), encoding="utf-8")
    case = open_dataset(tmp_path / "dataset.json", tmp_path / "splits.json").splits["train"][0]
    result = prepare_case(case, Preparation((16, 8)), num_classes=2)
    assert result.image.shape == (1, 12, 20)
    assert np.array_equal(result.image > 0, result.labels == 1)
    assert result.labels.sum() == 3 * 11
