"""What is wrong in a person's data is named in one sentence, which names the case."""

from pathlib import Path

import numpy as np
import pytest

from MorseCore.errors import DatasetError
from MorseCore.planning.doubts import doubts_about
from MorseCore.planning.layouts import find_cases
from MorseCore.planning.measures import Fingerprint, measure_cases
from MorseCore.planning.names import Matching, match_names, parts_of
from MorseCore.planning.rules import split_subjects, thin_structures
from own_data import body, geometry, write_folders, write_one


def looked_at(folder: Path, **wishes) -> tuple[list[str], Matching, Fingerprint]:
    cases = find_cases(folder).cases
    given = {"names": {}, "unannotated": {}} | wishes
    matching = match_names(cases, {c.name: parts_of(c) for c in cases}, **given)
    fingerprint = measure_cases(cases, matching, modality="", shown=lambda items: items)
    return doubts_about(cases, matching, fingerprint), matching, fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folders(tmp_path, 6)


def test_data_without_a_fault_raise_no_doubt(folder: Path):
    assert looked_at(folder)[0] == []


def test_swapped_segments(folder: Path):
    image, labels = body(2)
    write_one(folder, "case_2", image, np.array([0, 3, 2, 1], np.uint8)[labels])
    assert looked_at(folder)[0] == [
        "In 'case_2' the names 'liver' and 'spleen' look swapped: in place and size each is what "
        "the other is in the other cases."
    ]


def test_a_flipped_case(folder: Path):
    image, labels = body(3)
    write_one(folder, "case_3", image[:, :, ::-1], labels[:, :, ::-1])
    assert looked_at(folder)[0] == [
        "'case_3' lies mirrored, left and right exchanged, compared with the 5 other cases: its "
        "image or its header was flipped; mend it or leave it out."
    ]


def test_single_organs_of_both_sides_are_not_taken_for_flipped(folder: Path):
    for n in range(0, 6, 2):
        image, labels = body(n)
        write_one(folder, f"case_{n}", image[:, :, ::-1], labels[:, :, ::-1])
    assert not any("mirrored" in doubt for doubt in looked_at(folder)[0])


def test_a_copy_under_another_name_stays_in_one_part_of_the_split(folder: Path):
    write_one(folder, "case_1", *body(0))
    doubts, matching, fingerprint = looked_at(folder)
    assert doubts == [
        "'case_0' and 'case_1' show the same image although they are called different subjects: "
        "they are kept together in one part of the split; remove all but one."
    ]
    cases = find_cases(folder).cases
    for seed in range(5):
        folds, _ = split_subjects(cases, matching, fingerprint, seed=seed)
        assert folds["case_0"] == folds["case_1"]


def test_labels_on_another_grid_are_brought_to_the_images(folder: Path):
    image, labels = body(4)
    cut = geometry().crop((2, 0, 0), (16, 20, 24))
    write_one(folder, "case_4", image, labels[2:], label_grid=cut)
    doubts, _, fingerprint = looked_at(folder)
    assert doubts == [
        "The labels of 'case_4' lie on another grid than the image: they are brought to the "
        "image's grid."
    ]
    kept = np.count_nonzero(labels[2:] == 1)
    assert fingerprint.cases[4].structures["liver"].voxels == kept


def test_labels_in_another_frame_are_an_error(folder: Path):
    write_one(folder, "case_4", *body(4), label_grid=geometry(origin=500.0))
    with pytest.raises(
        DatasetError,
        match=r"Case 'case_4': 100% of what is marked lies outside of the image "
        r"'case_4.nii.gz', so image and labels are in different frames; both have one size",
    ):
        looked_at(folder)


def test_a_structure_that_one_case_lacks_may_not_have_been_annotated(folder: Path):
    write_one(folder, "case_5", *body(5, ["liver", "left kidney"]))
    assert looked_at(folder)[0] == [
        "'case_5' holds no 'spleen', which 5 cases hold: it is taken for absent there. If it was "
        "not annotated, say unannotated.case_5='[\"spleen\"]'."
    ]
    doubts, matching, fingerprint = looked_at(folder, unannotated={"case_5": ["spleen"]})
    assert doubts == []
    folds, _ = split_subjects(find_cases(folder).cases, matching, fingerprint, seed=0)
    assert folds["case_5"] is None  # it cannot be scored, so it trains


def test_a_label_in_one_case_only(folder: Path):
    for n in range(1, 6):
        write_one(folder, f"case_{n}", *body(n, ["liver", "left kidney"]))
    assert looked_at(folder)[0] == [
        "'spleen' is in one case only (case_0): it can be learned, or measured, but not both."
    ]


def test_three_cases_are_few(tmp_path: Path):
    assert looked_at(write_folders(tmp_path, 3))[0] == [
        "There are only 3 subjects: the figures on those set aside will say little, and a network "
        "learns these people by heart."
    ]


def test_structures_thinner_than_three_voxels_at_the_planned_spacing_are_named(folder: Path):
    _, _, fingerprint = looked_at(folder)
    assert thin_structures(fingerprint, {"R": 2.5, "A": 2.5, "S": 3.0}) == []
    (sentence,) = thin_structures(fingerprint, {"R": 2.5, "A": 2.5, "S": 5.0})
    assert sentence.startswith("'left kidney' is 2.4 voxels thick along S at the planned spacing")


def test_a_number_that_nothing_names_is_an_error(folder: Path):
    image, labels = body(1)
    write_one(folder, "case_1", image, labels + np.uint8(4) * (labels == 3))
    with pytest.raises(DatasetError, match=r"'case_1.nii.gz' holds the value 7, which has no name"):
        looked_at(folder)
