"""Several images of a case, in the layouts that people keep them in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from channel_data import NAMES, grid, two_channels, write_channels, write_raw
from MorseCore.commands.cli import main
from MorseCore.errors import DatasetError
from MorseCore.images.imageio import write_labels, write_volume
from MorseCore.images.preparation import ChannelIntensity, Preparation
from MorseCore.planning.doubts import doubts_about
from MorseCore.planning.layouts import FoundData, find_cases
from MorseCore.planning.measures import measure_cases
from MorseCore.planning.names import match_names, parts_of
from MorseCore.planning.rules import draft_training
from MorseCore.training.dataset import open_dataset, prepare_case


def files_of(found: FoundData) -> list[list[str]]:
    return [[path.name for path in case.images] for case in found.cases]


BOTH = [[f"case{n}_0000.nii.gz", f"case{n}_0001.nii.gz"] for n in range(2)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "Dataset001_Lumps", 2)


def test_nnunets_raw_folder_with_two_channels(raw: Path):
    found = find_cases(raw)
    assert (found.channels, files_of(found)) == (NAMES, BOTH)


def test_nnunets_own_table_of_images(raw: Path):
    described = json.loads((raw / "dataset.json").read_text("utf-8"))
    described["dataset"] = {
        f"case{n}": {"images": [f"imagesTr/{name}" for name in names],
                     "label": f"labelsTr/case{n}.nii.gz"}
        for n, names in enumerate(BOTH)
    }  # fmt: skip
    (raw / "dataset.json").write_text(json.dumps(described), "utf-8")
    assert files_of(find_cases(raw)) == BOTH
    described["dataset"]["case1"]["images"].pop()
    (raw / "dataset.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(DatasetError, match="the case 'case1' has 1 images, and the data set 2"):
        find_cases(raw)


def test_two_folders_without_a_dataset_json_number_their_channels(raw: Path):
    (raw / "dataset.json").unlink()
    found = find_cases(raw)
    assert (found.channels, files_of(found)) == (("channel 0", "channel 1"), BOTH)


def test_images_beside_their_label_map(tmp_path: Path):
    for n in range(2):
        write_channels(tmp_path, n, name=f"case{n}")
        write_labels(tmp_path / f"case{n}_seg.nii.gz", two_channels(n)[2], grid())
    write_volume(tmp_path / "later_0007.nii.gz", two_channels(9)[0], grid())  # of no label map
    assert files_of(find_cases(tmp_path)) == BOTH


def test_a_table_with_a_column_a_channel(raw: Path):
    rows = ["image_T1,image_T2,label"] + [
        ",".join([*(f"imagesTr/{name}" for name in names), f"labelsTr/case{n}.nii.gz"])
        for n, names in enumerate(BOTH)
    ]
    (raw / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    found = find_cases(raw / "all.csv")
    assert (found.channels, files_of(found)) == (NAMES, BOTH)
    assert [case.name for case in found.cases] == ["case0", "case1"]


def write_decathlon(folder: Path, *, volumes: int = 2) -> Path:
    """One file a case, whose fourth axis is the channels."""
    folder.mkdir()
    images = two_channels(0)
    parts = [SimpleITK.GetImageFromArray(image) for image in images[:volumes]]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(parts), str(folder / "case_0001.nii.gz"))
    origin = SimpleITK.GetImageFromArray(images[2])
    SimpleITK.WriteImage(origin, str(folder / "labels.nii.gz"))
    described = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "lump", "2": "other lump"},
        "training": [{"image": "./case_0001.nii.gz", "label": "./labels.nii.gz"}],
    }
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder / "dataset.json"


def test_decathlons_fourth_axis_is_the_channels(tmp_path: Path):
    dataset = write_decathlon(tmp_path / "raw")
    found = find_cases(dataset)
    assert (found.channels, files_of(found)) == (NAMES, [["case_0001.nii.gz"] * 2])
    data = open_dataset(dataset, None)
    rules = (ChannelIntensity("range", intensity_range=(0.0, 200.0)),) * 2
    case = prepare_case(
        data.splits["test"][0], Preparation((8, 8, 8), channels=rules), num_classes=3
    )
    upright = np.stack([image[:, ::-1, ::-1] for image in two_channels(0)[:2]])  # files are LPS
    np.testing.assert_allclose(case.image, upright.clip(0, 200) / 100 - 1, atol=1e-6)
    assert case.labels.shape == case.image.shape[1:]


def test_names_that_end_in_a_number_are_no_channels(tmp_path: Path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for n in (1, 2):
        image, _, labels = two_channels(n)
        write_volume(tmp_path / f"images/patient_{n:04d}.nii.gz", image, grid())
        write_labels(tmp_path / f"labels/patient_{n:04d}.nii.gz", labels, grid())
    found = find_cases(tmp_path)
    assert (found.channels, [case.name for case in found.cases]) == (
        (), ["patient_0001", "patient_0002"],
    )  # fmt: skip


def test_a_case_that_lacks_a_channel_is_named_with_it(raw: Path):
    (raw / "imagesTr" / "case1_0001.nii.gz").unlink()
    for described in (True, False):
        with pytest.raises(DatasetError) as caught:
            find_cases(raw)
        which = "T2" if described else "channel 1"
        assert f"The case 'case1' lacks its channel '{which}', '" in str(caught.value)
        (raw / "dataset.json").unlink(missing_ok=True)


def test_a_case_with_more_images_than_the_others_is_named(tmp_path: Path):
    for n in range(2):
        folder = tmp_path / f"case{n}"
        write_channels(folder, n, name="scan")
        write_labels(folder / "scan_seg.nii.gz", two_channels(n)[2], grid())
    (tmp_path / "case1" / "scan_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"'case1' has 1 image\(s\), and others have 2"):
        find_cases(tmp_path)


def test_channels_must_have_different_names(raw: Path):
    described = json.loads((raw / "dataset.json").read_text("utf-8"))
    described["channel_names"] = {"0": "MR", "1": "MR"}
    (raw / "dataset.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(DatasetError, match="must have names that differ; found 'MR', 'MR'"):
        find_cases(raw)


def test_a_constant_channel_is_named(raw: Path):
    flat = np.zeros_like(two_channels(0)[0])
    write_volume(raw / "imagesTr" / "case0_0001.nii.gz", flat, grid())
    case = open_dataset(raw / "dataset.json", None).splits["test"][0]
    with pytest.raises(DatasetError, match=r"image 'case0_0001\.nii\.gz' has one value"):
        prepare_case(case, Preparation((8, 8, 8), channels=(ChannelIntensity(),) * 2),
                     num_classes=3)  # fmt: skip


def test_each_channel_is_scaled_by_what_it_is_called(raw: Path):
    described = json.loads((raw / "dataset.json").read_text("utf-8"))
    described["channel_names"] = {"0": "CT", "1": "PET"}
    (raw / "dataset.json").write_text(json.dumps(described), "utf-8")
    small, (k, j, i) = grid(4.0, 10), (slice(None, None, 2),) * 3
    write_volume(raw / "imagesTr" / "case1_0001.nii.gz", two_channels(1)[1][k, j, i], small)
    found = find_cases(raw)
    parts = {case.name: parts_of(case) for case in found.cases}
    matching = match_names(found.cases, parts, names={}, unannotated={})
    fingerprint = measure_cases(found.cases, matching, modality="", channels=found.channels,
                                shown=lambda cases: cases)  # fmt: skip
    draft, _ = draft_training(found, matching, fingerprint, name="x", on_gpu=False)
    rules = draft.training["preparation"]["channels"]
    assert rules["PET"] == {"normalisation": "zscore"}
    low, high = rules["CT"]["intensity_range"]
    assert rules["CT"]["normalisation"] == "range"
    assert 60 < low < 110 < 170 < high < 220  # of both lumps, of which one is bright here
    assert draft.why["preparation.channels.CT"].startswith("CT values mean the same")
    assert fingerprint.modality == "any"
    assert (
        "The channel 'PET' of 'case1' lies on another grid than 'CT': it is brought to that grid."
    ) in doubts_about(found.cases, matching, fingerprint)


def test_slices_are_learned_with_all_their_channels(raw: Path):
    from MorseCore.training.augmentation import AugmentationConfig
    from MorseCore.training.samples import CropDataset

    case = open_dataset(raw / "dataset.json", None).splits["test"][0]
    flat = Preparation((16, 16), channels=(ChannelIntensity(),) * 2)
    prepared = prepare_case(case, flat, num_classes=3)
    still = AugmentationConfig.none()
    samples = CropDataset([prepared], (20, 20), augmentation=still, length=20, seed=1, oversample=0)
    slices = {tuple(one.image.flatten().tolist()) for one in map(samples.__getitem__, range(20))}
    expected = {tuple(prepared.image[:, k].ravel().tolist()) for k in range(20)}
    assert slices == expected


def test_a_contrast_of_its_own_is_not_generated_for_several_images(raw: Path, capsys):
    assert main(["plan", str(raw), "--any-contrast"]) == 2
    assert "a case has 2 (T1, T2): leave '--any-contrast' out" in capsys.readouterr().err
    shutil.rmtree(raw / "imagesTr")  # label maps alone have no channels, whatever the file says
    found = find_cases(raw, may_lack_images=True)
    assert (found.channels, found.has_images) == ((), False)
    assert files_of(found) == [["case0.nii.gz"], ["case1.nii.gz"]]
