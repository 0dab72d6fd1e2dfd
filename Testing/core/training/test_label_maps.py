"""A label map is read as what it says, or refused in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from brain_maps import STRUCTURES, SURROUNDINGS, head, label_map, save_map, table
from MorseCore.errors import DatasetError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.label_maps import find_label_maps, read_label_map, table_for
from MorseCore.training.generated.label_table import LabelTable, opposite_side


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Left hippocampus", "Right hippocampus"),
        ("hippocampus_R", "hippocampus_L"),
        ("kidney right", "kidney left"),
        ("lh.cortex", "rh.cortex"),
        ("LEFT lung", "RIGHT lung"),
        ("Brain stem", None),
        ("cleft", None),
        ("vertebra L1", None),
        ("left of right", None),
    ],
)
def test_the_other_side_is_found_by_the_name(name, expected):
    assert opposite_side(name) == expected


def test_every_value_has_its_class_and_the_value_on_the_other_side():
    made = table()
    entry = {value: n for n, value in enumerate(made.values)}
    assert made.values[0] == 0
    assert [made.classes[entry[v]] for v in (2, 25, 41, 57, 17, 53, 24, 502)] == [
        1, 1, 2, 2, 3, 4, 5, 0,
    ]  # fmt: skip
    for left, right in ((2, 41), (25, 57), (17, 53)):
        assert made.partners[entry[left]] == entry[right]
        assert made.partners[entry[right]] == entry[left]
    assert made.partners[entry[24]] == entry[24]
    assert made.sides == (0, 2, 1, 4, 3, 5)
    assert made.names[3] == "Left core"


@pytest.mark.parametrize(
    ("structures", "options", "expected"),
    [
        ({"Left a": (1,)}, {}, "'Left a' lacks its partner 'Right a'"),
        ({"Left a": (1, 3), "Right a": (2,)}, {}, "must have the same number of labels"),
        ({"a": (1,), "b": (1,)}, {}, "The label 1 is named twice"),
        ({"a": (1,)}, {"surroundings": (1,)}, "The label 1 is named twice"),
        ({"a": (-1,)}, {}, "must not be negative"),
        ({"a": ()}, {}, "'a' has no label"),
        ({}, {}, "no structure to find"),
        ({"a": (1,)}, {"tissues": {"bone": (1,)}}, "knows csf, grey, white; found 'bone'"),
        ({"a": (1,)}, {"tissues": {"csf": (9,)}}, "label 9, which is in no structure"),
        ({"a": tuple(range(1, 300))}, {}, "At most 256 different labels"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_sentence(structures, options, expected):
    with pytest.raises(DatasetError, match=expected):
        LabelTable.build(structures, **options)


def test_a_side_may_stand_alone_where_nothing_is_mirrored():
    made = LabelTable.build({"Left kidney": (1,), "Liver": (2,)}, is_mirrored=False)
    assert made.sides == (0, 1, 2)


def test_pairs_that_are_stated_count_and_not_the_names():
    structures = {"leftKidney": (1,), "Kidney_R": (2,), "Left lung": (3,)}
    made = LabelTable.build(structures, pairs=(("leftKidney", "Kidney_R"),))
    assert made.sides == (0, 2, 1, 3)
    assert made.class_of(mirrored=True).tolist() == [0, 2, 1, 3]


def test_names_of_cases_and_folds_are_those_of_the_data_set(tmp_path: Path):
    entries = []
    for n in range(3):
        save_map(tmp_path / "labels" / f"file_{n}.nii.gz", head())
        entries.append({"name": f"case_{n}", "label": f"labels/file_{n}.nii.gz"})
    table = {"labels": {"0": "background", "1": "a"}, "training": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    folds = [{"train": ["case_0"], "val": ["case_1"]}, {"train": ["case_1"], "val": ["case_2"]}]
    (tmp_path / "splits.json").write_text(json.dumps(folds), encoding="utf-8")
    found = find_label_maps(tmp_path / "dataset.json", tmp_path / "splits.json", fold=1)
    assert list(found.train) == ["case_1"]
    assert found.val["case_2"].name == "file_2.nii.gz"


def test_a_map_is_turned_upright_whatever_its_file_stores(tmp_path: Path):
    upright = label_map(tmp_path)
    turned = np.ascontiguousarray(head()[::-1, :, ::-1].transpose(1, 0, 2))
    matrix = np.array(  # i runs to L, j to I, k to A
        [[-1, 0, 0, 31], [0, 0, 1, 0], [0, -1, 0, 31], [0, 0, 0, 1.0]]
    )
    geometry = Geometry(turned.shape, matrix)
    write_volume(tmp_path / "turned.nii.gz", turned.astype(np.float32), geometry)
    other = read_label_map("turned", tmp_path / "turned.nii.gz", table())
    assert torch.equal(other.entries, upright.entries)
    assert other.box == upright.box


def test_the_box_holds_the_structures_and_not_what_surrounds_them(tmp_path: Path):
    found = label_map(tmp_path)
    assert found.box == ((6.0, 6.0, 6.0), (25.0, 25.0, 25.0))
    assert found.spacing == (1.0, 1.0, 1.0)


def test_far_below_its_structures_a_map_is_not_kept(tmp_path: Path):
    tall = np.concatenate([np.full((200, 32, 32), 502, np.uint16), head()])
    found = label_map(tmp_path, tall)
    assert found.entries.shape[0] == SIDE_WITH_MARGIN
    assert found.box[0][0] == 60.0


SIDE_WITH_MARGIN = 60 + 26  # mm below the structures, and from their lowest voxel to the top


def _with(value: float, *, where: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    labels = head().astype(np.float32)
    labels[where] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.zeros((8, 8, 8), np.float32), "holds one value everywhere"),
        (np.full((8, 8, 8), 502, np.float32), "holds one value everywhere"),
        (_with(1.5), "not whole numbers"),
        (_with(np.nan), "not whole numbers|without"),
        (_with(77), "holds the label 77, which is neither"),
        (_with(-1), "holds the label -1, which is neither"),
        (np.where(head() == 502, 502, 0).astype(np.float32), "no structure, only surroundings"),
        (head()[:1].astype(np.float32), "is flat"),
    ],
)
def test_a_bad_label_map_is_one_sentence_that_names_it(tmp_path: Path, labels, expected):
    path = tmp_path / "odd.nii.gz"
    write_volume(path, labels, Geometry(labels.shape, np.eye(4)))
    with pytest.raises(DatasetError, match=expected) as caught:
        read_label_map("odd", path, table())
    assert "'odd'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_image_is_one_sentence(tmp_path: Path):
    (tmp_path / "odd.nii.gz").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="The label map 'odd' cannot be read"):
        read_label_map("odd", tmp_path / "odd.nii.gz", table())


def _folder(tmp_path: Path, count: int) -> Path:
    for n in range(count):
        save_map(tmp_path / "labels" / f"map_{n}.nii.gz", head())
    return tmp_path / "labels"


def test_every_fifth_map_of_a_folder_is_for_validation(tmp_path: Path):
    files = find_label_maps(_folder(tmp_path, 6), None)
    assert list(files.val) == ["map_4"]
    assert list(files.train) == ["map_0", "map_1", "map_2", "map_3", "map_5"]
    few = find_label_maps(_folder(tmp_path / "few", 2), None)
    assert (list(few.train), list(few.val)) == (["map_0"], ["map_1"])


def test_one_map_serves_for_both_with_a_warning(tmp_path: Path, caplog):
    files = find_label_maps(_folder(tmp_path, 1), None)
    assert files.train == files.val
    assert "serves for training and for validation" in caplog.text


def test_a_split_file_decides(tmp_path: Path):
    folder = _folder(tmp_path, 3)
    split = tmp_path / "splits.json"
    split.write_text(json.dumps({"train": ["map_2"], "val": ["map_0"]}))
    files = find_label_maps(folder, split)
    assert (list(files.train), list(files.val)) == (["map_2"], ["map_0"])


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"train": ["map_9"]}, r"'map_9', which is not there \(did you mean"),
        ({"train": ["map_0"], "val": ["map_0"]}, "in 'train' and in 'val'"),
        ({"train": []}, "no training case"),
        ({"train": "map_0"}, "must be a list"),
    ],
)
def test_a_split_that_does_not_fit_is_one_sentence(tmp_path: Path, split, expected):
    (tmp_path / "splits.json").write_text(json.dumps(split))
    with pytest.raises(DatasetError, match=expected):
        find_label_maps(_folder(tmp_path, 2), tmp_path / "splits.json")


def test_a_folder_without_maps_and_a_path_that_is_not_there_are_one_sentence(tmp_path: Path):
    with pytest.raises(DatasetError, match="holds no label map"):
        find_label_maps(tmp_path, None)
    with pytest.raises(DatasetError, match="does not exist"):
        find_label_maps(tmp_path / "nowhere", None)


def test_a_dataset_without_images_names_structures_and_files(tmp_path: Path):
    _folder(tmp_path, 2)
    names = {"0": "background", "2": "Left part", "41": "Right part", "17": "Core", "502": "Skin"}
    entries = [{"label": f"./labels/map_{n}.nii.gz"} for n in range(2)]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": names, "training": entries}))
    files = find_label_maps(tmp_path / "dataset.json", None)
    made = table_for(files, GenerationConfig(surroundings=(502,)))
    assert made.names == {0: "background", 1: "Left part", 2: "Right part", 3: "Core"}
    assert made.is_surrounded


def test_without_names_every_value_that_a_map_holds_is_a_structure(tmp_path: Path):
    files = find_label_maps(_folder(tmp_path, 2), None)
    made = table_for(files, GenerationConfig(surroundings=SURROUNDINGS))
    values = sorted(v for part in STRUCTURES.values() for v in part)
    assert list(made.names.values()) == ["background", *(f"Label {v}" for v in values)]
