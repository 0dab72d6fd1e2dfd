"""``python Training/convert.py``: folders as their owners lay them out become trainable."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.images.imageio import read_volume
from MorseCore.images.preparation import Preparation
from MorseCore.metrics.subjects import subjects_of
from MorseCore.training.dataset import open_dataset, prepare_case
from training_runs import script
from wrong_usage import Said, data, home, said

__all__ = ["data", "home", "said"]  # fixtures


def save(path: Path, array: np.ndarray, *, color: bool = False, spacing: float = 2.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array, isVector=color)
    if array.ndim == 3 and not color:
        image.SetSpacing((1.0, 1.0, spacing))
    SimpleITK.WriteImage(image, str(path))


def volume(label: int) -> np.ndarray:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1:3, 2:5, 2:5] = label
    return labels


def convert(*words: object) -> int:
    return script("convert").main([str(word) for word in words])


def btcv(folder: Path, numbers: list[int], label: int = 6) -> Path:
    for n in numbers:
        save(folder / "img" / f"img{n:04}.nii.gz", volume(label).astype(np.int16) * 100)
        save(folder / "label" / f"label{n:04}.nii.gz", volume(label))
    return folder


def test_synapse_has_transunets_organs_and_split(tmp_path: Path) -> None:
    source = btcv(tmp_path / "raw", [1, 5, 6, 8], label=6)  # BTCV's 6 is the liver
    assert convert("synapse", source, tmp_path / "out") == 0
    data = open_dataset(tmp_path / "out" / "dataset.json", tmp_path / "out" / "splits.json")
    assert {part: [c.name for c in cases] for part, cases in data.splits.items()} == {
        "train": ["btcv_0005", "btcv_0006"], "val": [], "test": ["btcv_0001", "btcv_0008"],
    }  # fmt: skip
    case = data.splits["train"][0]
    labels = read_volume(case.label)
    assert data.labels[int(labels.array.max())] == "liver"
    assert labels.geometry.spacing == (1.0, 1.0, 2.0)
    assert (labels.array > 0).sum() == 18


def test_an_organ_that_synapse_leaves_out_is_background(tmp_path: Path) -> None:
    source = btcv(tmp_path / "raw", [5], label=5)  # the esophagus
    assert convert("synapse", source, tmp_path / "out") == 0
    assert read_volume(tmp_path / "out" / "labels" / "btcv_0005.nii.gz").array.max() == 0


def test_a_drawn_split_keeps_subjects_whole_and_is_the_same_again(tmp_path: Path) -> None:
    for patient in range(10):
        for frame in (1, 9):
            name = f"patient{patient:03}_frame{frame:02}"
            folder = tmp_path / "raw" / "training" / f"patient{patient:03}"
            save(folder / f"{name}.nii.gz", volume(1).astype(np.int16))
            save(folder / f"{name}_gt.nii.gz", volume(3))
    splits = []
    for name in ("a", "b"):
        assert convert("acdc", tmp_path / "raw", tmp_path / name) == 0
        splits.append(json.loads((tmp_path / name / "splits.json").read_text()))
    assert splits[0] == splits[1]
    owners = [{case.split("_")[0] for case in part} for part in splits[0].values()]
    assert [len(part) for part in owners] == [7, 1, 2]
    assert not owners[0] & owners[1] | owners[1] & owners[2] | owners[0] & owners[2]


def test_colour_images_become_grey_and_jpeg_masks_two_valued(tmp_path: Path) -> None:
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[..., 1] = 200
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    for n in range(3):
        save(tmp_path / "raw" / "images" / f"p{n}.jpg", colour, color=True)
        save(tmp_path / "raw" / "masks" / f"p{n}.jpg", np.stack([mask] * 3, -1), color=True)
    assert convert("kvasir-sessile", tmp_path / "raw", tmp_path / "out") == 0
    data = open_dataset(tmp_path / "out" / "dataset.json", tmp_path / "out" / "splits.json")
    case = prepare_case(
        data.splits["train"][0], Preparation(window=(16, 16)), num_classes=data.num_classes
    )
    assert (case.labels.sum(), case.labels.max()) == (64, 1)
    grey = read_volume(data.splits["train"][0].image).array
    assert abs(float(grey.mean()) - 0.587 * 200) < 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_frames_of_one_colonoscopy_stay_together(tmp_path: Path, suffix: str) -> None:
    colour = np.full((16, 16, 3), (0, 200, 0), np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    # First and last frames of videos 1, 2, 9, 10 and 29.
    frames = [1, 25, 26, 50, 178, 199, 200, 205, 592, 612]
    for n in frames:
        save(tmp_path / "raw" / "Original" / f"{n}.{suffix}", colour, color=True)
        save(tmp_path / "raw" / "Ground Truth" / f"{n}.{suffix}", mask)
    (tmp_path / "raw" / "Original" / f"thumbs.{suffix}").touch()
    assert convert("cvc-clinicdb", tmp_path / "raw", tmp_path / "out") == 0
    owners = subjects_of(tmp_path / "out" / "dataset.json")
    assert list(owners) == [f"cvc_{n:03}" for n in frames]
    assert list(owners.values()) == [f"video_{n:02}" for n in (1, 1, 2, 2, 9, 9, 10, 10, 29, 29)]
    data = open_dataset(tmp_path / "out" / "dataset.json", tmp_path / "out" / "splits.json")
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [6, 2, 2]
    case = data.splits["test"][0]
    assert read_volume(case.label).array.sum() == 64
    assert read_volume(case.image).array.mean() == round(0.587 * 200)
    assert data.labels == {0: "background", 1: "polyp"}


def test_glas_counts_every_gland_as_foreground(tmp_path: Path) -> None:
    glands = np.zeros((16, 16), np.uint8)
    glands[2:5, 2:5], glands[8:12, 8:12] = 1, 7  # instances
    for name in ("train_1", "testA_1", "testB_2"):
        save(tmp_path / "raw" / f"{name}.bmp", np.full((16, 16, 3), 90, np.uint8), color=True)
        save(tmp_path / "raw" / f"{name}_anno.bmp", glands)
    assert convert("glas", tmp_path / "raw", tmp_path / "out") == 0
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert splits == {"train": ["train_1"], "val": [], "test": ["testA_1", "testB_2"]}
    label = read_volume(tmp_path / "out" / "labels" / "train_1.png").array
    assert (label.sum(), label.max()) == (25, 1)


def test_amos_takes_the_ct_scans_with_labels(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for n, split in ((1, "Tr"), (507, "Tr"), (8, "Va")):
        save(raw / f"images{split}" / f"amos_{n:04}.nii.gz", volume(1).astype(np.int16))
        save(raw / f"labels{split}" / f"amos_{n:04}.nii.gz", volume(15))
    assert convert("amos", raw, tmp_path / "out") == 0
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert splits == {"train": ["amos_0001"], "val": [], "test": ["amos_0008"]}


def test_what_goes_wrong_is_one_sentence_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert("synapze", tmp_path, tmp_path / "out") == 2
    assert "did you mean 'synapse'" in capsys.readouterr().err
    assert convert("synapse", tmp_path, tmp_path / "out") == 1
    assert "img/img0001.nii.gz" in capsys.readouterr().err
    source = btcv(tmp_path / "raw", [5, 6])
    save(source / "label" / "label0006.nii.gz", volume(6)[:, :4])
    assert convert("btcv", source, tmp_path / "out") == 1
    assert "btcv_0006" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    (source / "label" / "label0006.nii.gz").write_bytes(b"no image")
    assert convert("btcv", source, tmp_path / "out") == 1
    assert "label0006.nii.gz' cannot be read" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert convert("btcv", source, tmp_path / "out") == 1
    assert "is there already" in capsys.readouterr().err


# --- what users get wrong


@pytest.fixture
def raw(home: Path) -> Path:
    """A folder as BTCV's owners hand it out, with four cases."""
    return btcv(home / "raw", [5, 6, 7, 8], label=1)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [(("out", "--seed", "-1"), 2, "'--seed' must not be negative; found -1."),
     (("file.txt/x",), 1, "file.txt/x cannot be written: its folder is a file."),
     ((), 2, "name a data set, its folder and the folder to write")],
)  # fmt: skip
def test_a_conversion_that_cannot_be_written_is_one_sentence(
    raw: Path, said: Said, words: tuple[str, ...], code: int, sentence: str
) -> None:
    found, error = said("convert", "btcv", raw, *words)
    assert found == code
    assert sentence in error
    assert not list(raw.parent.glob("*out*"))


@pytest.mark.parametrize("name", ["synapse", "btcv"])
@pytest.mark.parametrize(
    ("kind", "array", "sentence"),
    [("label", np.zeros((4, 8, 8, 3), np.uint8), "one value a voxel is expected"),
     ("img", np.zeros((4, 8, 8, 3), np.uint8), "one value a voxel is expected"),
     ("label", volume(1).astype(np.int16) * 256, "whole numbers from 0 to 255; found 0 to 256"),
     ("label", volume(1) * np.float32(0.5), "found 0 to 0.5"),
     ("label", -volume(1).astype(np.int16), "found -1 to 0")],
)  # fmt: skip
def test_labels_that_eight_bits_would_change_and_colours_are_refused(
    raw: Path, said: Said, name: str, kind: str, array: np.ndarray, sentence: str
) -> None:
    save(raw / kind / f"{kind}0006.nii.gz", array, color=array.ndim == 4)
    code, error = said("convert", name, raw, "out")
    assert code == 1
    assert sentence in error
    assert not (raw.parent / "out").exists()


def test_a_case_without_its_label_map_is_named(raw: Path, said: Said) -> None:
    (raw / "label" / "label0006.nii.gz").unlink()
    code, error = said("convert", "btcv", raw, "out")
    assert code == 1
    assert error == f"error: There is no file '{raw / 'label' / 'label0006.nii.gz'}'."


def test_a_disk_that_is_full_ends_a_conversion_with_a_sentence(
    raw: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("sitk::ERROR: No space left on device")

    monkeypatch.setattr("SimpleITK.WriteImage", full)
    code, error = said("convert", "btcv", raw, "out")
    assert code == 1
    assert error == "error: 'btcv_0005.nii.gz' cannot be written: No space left on device"
    assert not list(raw.parent.glob("*out*"))


def test_ctrl_c_ends_what_writes_data_sets_with_a_sentence(
    raw: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("SimpleITK.WriteImage", stop)
    monkeypatch.setattr("MorseCore.training.phantoms.write_phantom_dataset", stop)
    for words in (("convert", "btcv", raw, "out"), ("make_phantoms", "out")):
        code, error = said(*words)
        assert (code, error.startswith("error: Stopped")) == (1, True)
    assert not list(raw.parent.glob("*out*"))


def test_files_of_other_names_in_a_downloaded_folder_are_left_alone(raw: Path) -> None:
    (raw / "img" / "imgABCD.nii.gz").write_text("notes")
    assert script("convert").main(["btcv", str(raw), "out"]) == 0
    amos = raw.parent / "amos"
    for name in ("imagesTr", "labelsTr"):
        (amos / name).mkdir(parents=True)
        save(amos / name / "amos_0001.nii.gz", volume(1))
        save(amos / name / "amos_x.nii.gz", volume(1))
    assert script("convert").main(["amos", str(amos), "amos-out"]) == 0
    names = {path.name for path in (raw.parent / "amos-out" / "images").iterdir()}
    assert names == {"amos_0001.nii.gz"}


@pytest.mark.parametrize("change", ["mirrored", "shifted"])
def test_a_label_that_lies_elsewhere_than_its_image_is_not_pasted_onto_it(
    raw: Path, said: Said, change: str
) -> None:
    path = raw / "label" / "label0007.nii.gz"
    label = SimpleITK.ReadImage(str(path))
    if change == "mirrored":
        label.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    else:
        label.SetOrigin((0, 0, 3))
    SimpleITK.WriteImage(label, str(path))
    code, error = said("convert", "btcv", raw, "out")
    assert code == 1
    assert "btcv_0007" in error
    assert "spacing, directions or origins differ" in error
    assert not list(raw.parent.glob("*out*"))
