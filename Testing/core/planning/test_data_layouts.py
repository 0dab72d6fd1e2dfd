"""A person's folder is understood, whatever its layout, and its structures are matched by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.errors import DatasetError
from MorseCore.images.imageio import read_volume, write_labels, write_volume
from MorseCore.images.segmentationfile import read_segments, write_segmentation_nrrd
from MorseCore.planning.layouts import FoundCase, find_cases
from MorseCore.planning.names import Matching, Part, key_of, match_names, parts_of
from MorseCore.planning.reading import read_case_labels
from MorseCore.result import Structure
from own_data import ORGANS, body, geometry, write_folders, write_segmentation


def matched(folder: Path, **wishes) -> Matching:
    cases = find_cases(folder).cases
    given = {"names": {}, "unannotated": {}} | wishes
    return match_names(cases, {c.name: parts_of(c) for c in cases}, **given)


def names_of(folder: Path, **wishes) -> list[str]:
    return [one.name for one in matched(folder, **wishes).structures]


@pytest.mark.parametrize("channel", ["", "_0000"])
def test_two_folders_with_equal_names_or_a_channel_behind_them(tmp_path: Path, channel: str):
    found = find_cases(write_folders(tmp_path, channel=channel))
    assert [case.name for case in found.cases] == ["case_0", "case_1", "case_2", "case_3"]
    assert found.cases[0].image.name == f"case_0{channel}.nii.gz"
    assert names_of(tmp_path) == list(ORGANS)


def test_nnunets_raw_folder(tmp_path: Path):
    write_folders(tmp_path, channel="_0000")
    (tmp_path / "images").rename(tmp_path / "imagesTr")
    (tmp_path / "labels").rename(tmp_path / "labelsTr")
    data = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 3},
            "file_ending": ".nii.gz", "numTraining": 4}  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    found = find_cases(tmp_path)
    assert (found.layout, found.modality, len(found.cases)) == ("nnU-Net (dataset.json)", "CT", 4)
    assert names_of(tmp_path) == ["liver", "spleen"]


def test_nnunets_label_for_unlabelled_voxels_is_refused(tmp_path: Path):
    data = {"dataset": {}, "labels": {"background": 0, "liver": 1, "ignore": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DatasetError, match="label 'ignore', which is not read"):
        find_cases(tmp_path)


def test_bids_with_derivatives_knows_subjects_and_the_table_of_names(tmp_path: Path):
    derived = tmp_path / "derivatives" / "manual"
    for subject, session in (("01", "1"), ("01", "2"), ("02", "1")):
        stem = f"sub-{subject}_ses-{session}"
        for root in (tmp_path, derived):
            (root / f"sub-{subject}" / f"ses-{session}" / "anat").mkdir(parents=True)
        image, labels = body(int(subject + session))
        place = Path(f"sub-{subject}/ses-{session}/anat")
        write_volume(tmp_path / place / f"{stem}_T1w.nii.gz", image, geometry())
        write_labels(derived / place / f"{stem}_desc-manual_dseg.nii.gz", labels, geometry())
    rows = ["index\tname", "0\tbackground", "1\tliver", "2\tleft kidney", "3\tspleen"]
    (derived / "desc-manual_dseg.tsv").write_text("\n".join(rows), encoding="utf-8")
    found = find_cases(tmp_path)
    assert [(c.name, c.subject) for c in found.cases] == [
        ("sub-01_ses-1", "sub-01"), ("sub-01_ses-2", "sub-01"), ("sub-02_ses-1", "sub-02"),
    ]  # fmt: skip
    assert names_of(tmp_path) == list(ORGANS)


def test_a_table_of_pairs_with_subjects(tmp_path: Path):
    write_folders(tmp_path, 2)
    rows = [f"images/case_{n}.nii.gz;labels/case_{n}.nii.gz;person" for n in range(2)]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["image;label;subject", *rows]), encoding="utf-8")
    found = find_cases(table)
    assert [(c.name, c.subject) for c in found.cases] == [
        ("case_0", "person"), ("case_1", "person"),
    ]  # fmt: skip


def test_pictures_beside_their_masks(tmp_path: Path):
    for n in range(3):
        mask = np.zeros((20, 24), np.uint8)
        mask[5:12, 6 + n : 15] = 255
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask // 2), str(tmp_path / f"p{n}.png"))
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), str(tmp_path / f"p{n}_mask.png"))
    assert names_of(tmp_path) == ["label 255"]
    assert names_of(tmp_path, names={"label 255": "polyp"}) == ["polyp"]
    case, matching = find_cases(tmp_path).cases[0], matched(tmp_path)
    labels = read_case_labels(case, read_volume(case.image), matching.parts["p0"])
    assert np.unique(labels.labels).tolist() == [0, 1]


def test_a_folder_that_holds_no_pair_says_what_is_expected(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"holds no image with a label map; expected are"):
        find_cases(tmp_path)


def test_spellings_of_one_name_are_one():
    assert {key_of(n) for n in ("Kidney_L", "leftKidney", "kidney, left", "LEFT kidney")} == {
        "left kidney"
    }
    assert key_of("left kidney") != key_of("right kidney")


def segmented(folder: Path, orders: list[list[str]]) -> Path:
    """A case for each order of segments, numbered in that order."""
    for n, order in enumerate(orders):
        image, labels = body(n)
        write_volume(folder / f"scan{n}.nrrd", image, geometry())
        known = {key_of(name): value for value, name in enumerate(ORGANS, start=1)}
        renumbered = np.zeros_like(labels)
        for value, name in enumerate(order, start=1):
            renumbered[labels == known.get(key_of(name), 99)] = value
        segments = [(name, 0, value) for value, name in enumerate(order, start=1)]
        write_segmentation(folder / f"scan{n}.seg.nrrd", renumbered[None], segments)
    return folder


def test_segments_in_another_order_are_matched_by_name_and_it_is_said(tmp_path: Path):
    folder = segmented(
        tmp_path,
        [["liver", "left kidney", "spleen"], ["liver", "left kidney", "spleen"],
         ["Kidney_L", "Liver", "spleen"]],
    )  # fmt: skip
    matching = matched(folder)
    assert [s.name for s in matching.structures] == ["liver", "left kidney", "spleen"]
    assert (
        "The number of 'liver' is 1 in 2 cases, but 2 in scan2: names are followed, not numbers."
        in matching.notes
    )
    assert (
        "'left kidney' is also written 'Kidney_L' (1 cases): they are taken as one structure."
        in matching.notes
    )
    case = find_cases(folder).cases[2]
    labels = read_case_labels(case, read_volume(case.image), matching.parts["scan2"]).labels
    assert np.array_equal(labels, body(2)[1])


def test_a_structure_without_a_segment_is_not_taken_for_absent(tmp_path: Path):
    matching = matched(segmented(tmp_path, [["liver", "spleen"], ["liver", "spleen"], ["liver"]]))
    assert matching.unannotated_in("scan2") == ("spleen",)
    assert any(
        note.startswith("'spleen' is not annotated in 1 of 3 cases (scan2)")
        for note in matching.notes
    )


def test_a_misspelt_name_is_suggested_and_a_person_can_mend_it(tmp_path: Path):
    folder = segmented(tmp_path, [["liver", "spleen"], ["liver", "spleen"], ["livr", "spleen"]])
    assert (
        "'livr' (scan2) may be 'liver' misspelt: \"names.livr=liver\" makes them one."
        in matched(folder).notes
    )
    assert names_of(folder, names={"livr": "liver"}) == ["liver", "spleen"]
    assert names_of(folder, names={"livr": "", "spleen": ""}) == ["liver"]
    with pytest.raises(DatasetError, match="'names' speaks of 'heart'"):
        matched(folder, names={"heart": "liver"})


def test_where_segments_overlap_the_priority_decides(tmp_path: Path):
    image, _ = body(0)
    write_volume(tmp_path / "scan.nrrd", image, geometry())
    large, small = np.zeros((2, *image.shape), np.uint8)
    large[2:12, 2:12, 2:12] = 1
    small[4:8, 4:8, 4:8] = 1
    layers = np.stack([large, small])
    write_segmentation(
        tmp_path / "scan.seg.nrrd", layers, [("organ", 0, 1), ("tumour", 1, 1)]
    )  # fmt: skip
    case, matching = find_cases(tmp_path).cases[0], matched(tmp_path)
    scan, parts = read_volume(case.image), matching.parts["scan"]
    found = read_case_labels(case, scan, parts)
    assert found.overlaps == {(1, 2): 64}
    assert np.count_nonzero(found.labels == 2) == 64
    other = read_case_labels(case, scan, parts, priority=(1, 2))
    assert np.count_nonzero(other.labels == 2) == 0


def test_names_in_two_languages_are_one_by_their_code_unless_the_code_says_too_little():
    cases = [FoundCase(name, Path(name), ()) for name in ("a", "b")]

    def together(code: str) -> list[str]:
        found = {
            "a": ((Part(0, 1, "liver", code=code),), False),
            "b": ((Part(0, 1, "Leber", code=code),), False),
        }
        return [s.name for s in match_names(cases, found, names={}, unannotated={}).structures]

    assert together("SCT^10200004") == ["liver"]
    assert together("SCT^85756007") == ["liver", "Leber"]  # "Tissue", which Slicer gives to all
    assert together("") == ["liver", "Leber"]


def test_the_code_of_a_segment_is_read_from_slicers_tags(tmp_path: Path):
    entry = (
        "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~"
        "SCT^7771000^Left~Anatomic codes~^^~^^"
    )
    labels = np.ones((4, 5, 6), np.uint8)
    write_segmentation_nrrd(
        tmp_path / "a.seg.nrrd", labels, geometry((4, 5, 6)),
        structures=[Structure(1, "Niere", (1.0, 0.0, 0.0), entry)],
    )  # fmt: skip
    (segment,) = read_segments(tmp_path / "a.seg.nrrd")
    assert (segment.name, segment.value, segment.layer) == ("Niere", 1, 0)
    assert segment.code == "SCT^64033007 SCT^7771000"
