"""What users get wrong when they convert a data set or write phantoms: one sentence."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from training_runs import script
from wrong_usage import Said, data, home, said

__all__ = ["data", "home", "said"]  # fixtures


@pytest.fixture
def raw(home: Path) -> Path:
    """A folder as BTCV's owners hand it out, with four cases."""
    for name in ("img", "label"):
        (home / "raw" / name).mkdir(parents=True)
        for n in (5, 6, 7, 8):
            save(home / "raw" / name / f"{name}{n:04}.nii.gz", volume())
    return home / "raw"


def volume() -> np.ndarray:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1:3, 2:5, 2:5] = 1
    return labels


def save(path: Path, array: np.ndarray, *, color: bool = False) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=color), str(path))


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
     ("label", volume().astype(np.int16) * 256, "whole numbers from 0 to 255; found 0 to 256"),
     ("label", volume() * np.float32(0.5), "found 0 to 0.5"),
     ("label", -volume().astype(np.int16), "found -1 to 0")],
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
        save(amos / name / "amos_0001.nii.gz", volume())
        save(amos / name / "amos_x.nii.gz", volume())
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
