"""A BIDS data set in, derivatives out, in the call form of BIDS Apps."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli_client import CommandLine, names, read_table, write_scan
from MorseCore.images.imageio import read_volume


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans of two subjects, and who they are."""
    root = tmp_path_factory.mktemp("bids") / "study"
    for n, place in enumerate(("sub-01/ses-a", "sub-01/ses-b", "sub-02")):
        write_scan(root / place / "anat" / f"{place.replace('/', '_')}_T1w.nii.gz", seed=28 + n)
    (root / "participants.tsv").write_text(
        "participant_id\tage\nsub-01\t61\nsub-02\t35\n", encoding="utf-8"
    )
    return root


def test_participants_become_derivatives_and_the_group_their_tables(
    command: CommandLine, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "derivatives"
    model = ("--model", "phantom-tiny", "--passes", "0")
    done = command("bids", study, out, "participant", "--participant-label", "01", *model)
    assert done.code == 0, done.err
    assert names(out) == {".bidsignore", "dataset_description.json", "morsesegment", "sub-01"}
    description = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "MorseSegment"
    stem = "sub-01_ses-b_desc-refined_dseg"
    anat = out / "sub-01" / "ses-b" / "anat"
    mask = read_volume(anat / f"{stem}.nii.gz").array
    own = out / "morsesegment" / "sub-01_ses-b_T1w" / "refined.nii.gz"
    np.testing.assert_array_equal(mask, read_volume(own).array)
    assert (anat / f"{stem}.nii.gz").samefile(own)
    label = (anat / f"{stem}.tsv").read_text(encoding="utf-8").splitlines()
    assert label[0] == "index\tname\tcolor"
    assert label[1].startswith("1\tball\t#")
    about = json.loads((anat / f"{stem}.json").read_text(encoding="utf-8"))
    assert about["Sources"] == ["bids:raw:sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz"]
    assert (
        command("bids", study, out, "participant", "--participant_label", "sub-02", *model).code
        == 0
    )
    group = command("bids", study, out, "group")
    assert group.code == 0
    rows = read_table(out / "morsesegment" / "volumes.csv")
    found = {(row["subject"], row["session"], row["age"]) for row in rows}
    assert found == {("01", "a", "61"), ("01", "b", "61"), ("02", "", "35")}


def test_a_case_that_is_done_already_gets_its_lost_derivative_again(
    command: CommandLine, study: Path, tmp_path: Path
) -> None:
    words = ("bids", study, tmp_path, "participant", "--participant-label", "02")
    words += ("--model", "phantom-tiny", "--passes", "0")
    assert command(*words).code == 0
    mask = tmp_path / "sub-02" / "anat" / "sub-02_desc-coarse_dseg.nii.gz"
    mask.unlink()
    assert "already done" in command(*words).err
    assert mask.is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("participant", "--participant-label", "1"), "has no participant '1'"),
        (("participant", "--format", "seg.nrrd"), "leave out --format"),
        (("group",), "holds no results"),
        (("both",), "invalid choice: 'both'"),
    ],
)
def test_wrong_calls_are_one_sentence(
    command: CommandLine, study: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = command("bids", study, tmp_path / "out", *words)
    assert done.code == 2
    assert sentence in done.sentence


def test_a_folder_that_is_no_data_set_is_refused(command: CommandLine, tmp_path: Path) -> None:
    done = command("bids", tmp_path, tmp_path / "out", "participant")
    assert (done.code, "is no BIDS data set" in done.sentence) == (2, True)
    assert names(tmp_path) == set()
