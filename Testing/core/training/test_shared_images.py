"""A copy of a training image in another split makes figures too good; voxels tell, not names."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from MorseCore.errors import DatasetError
from MorseCore.geometry import Geometry
from MorseCore.images.contents import voxel_digest
from MorseCore.images.imageio import Volume, read_volume, write_volume
from MorseCore.store.model_folder import read_card, read_model
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.training.dataset import PreparedCase, check_shared
from MorseCore.training.phantoms import write_phantom_dataset
from train_command import train
from training_runs import phantom_cases, run_data


def case(name: str, digest: str) -> PreparedCase:
    empty = np.zeros((1, 1, 1))
    return PreparedCase(name, empty, empty, (1.0, 1.0, 1.0), digest=digest)


def test_two_cases_of_one_image_are_named_with_their_splits() -> None:
    train, test = [case("a", "1"), case("b", "2")], [case("c", "3"), case("d", "2")]
    with pytest.raises(DatasetError, match="'d' of 'test' shows the same image as 'b' of 'train'"):
        check_shared(train, {"val": [], "test": test})
    with pytest.raises(DatasetError, match=r"\(and 1 more\)"):
        check_shared(train, {"val": [case("e", "1")], "test": test})
    accepted = Acceptance(["shared-images"])
    check_shared(train, {"test": test}, accepted)
    assert len(accepted.used) == 1


def test_images_that_differ_and_empty_slices_are_let_through(caplog) -> None:
    check_shared([case("a", "1"), case("b", "")], {"test": [case("c", "2"), case("d", "")]})
    assert not caplog.text
    check_shared([case("a", "1"), case("b", "1")], {"test": []})
    assert "'a' and 'b' of 'train' show one image" in caplog.text


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, (6, 5, 4)).astype(np.int16)


def placed(array: np.ndarray, matrix: np.ndarray | None = None) -> Volume:
    return Volume(array, Geometry(array.shape, np.eye(4) if matrix is None else matrix), "scan")


def test_a_digest_is_of_what_is_seen() -> None:
    array = scan()
    digest = voxel_digest(placed(array))
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[:3, 3] = 50
    assert voxel_digest(placed(array.astype(np.float32))) == digest
    assert voxel_digest(placed(array, moved)) == digest
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    assert voxel_digest(placed(array[:, :, ::-1], mirrored)) == digest
    assert voxel_digest(placed(array[:, :, ::-1])) != digest
    assert voxel_digest(placed(array.reshape(5, 6, 4))) != digest
    other = array.copy()
    other[3, 3, 3] += 1
    assert voxel_digest(placed(other)) != digest


def test_missing_values_and_the_sign_of_zero_do_not_count() -> None:
    one, two = scan().astype(np.float32), scan().astype(np.float32)
    one[0, 0, :2], two[0, 0, :2] = [np.nan, 0.0], [np.float32(-np.nan), -0.0]
    assert voxel_digest(placed(one)) == voxel_digest(placed(two))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with phantoms and ``run.json``; two steps are trained."""
    write_phantom_dataset(tmp_path / "data", cases=(2, 1, 1), shape=(16, 16, 16))
    config = run_data(optimisation={"iterations": 2, "batch_size": 1}, validation={"every": 2})
    (tmp_path / "run.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copy_image(folder: Path, source: str, target: str) -> None:
    """As another file: packed otherwise."""
    raw = gzip.decompress((folder / "images" / f"{source}.nii.gz").read_bytes())
    (folder / "images" / f"{target}.nii.gz").write_bytes(gzip.compress(raw, 1))


@pytest.mark.parametrize(("case", "part"), [("phantom_002", "val"), ("phantom_003", "test")])
def test_a_copy_under_another_name_is_refused_before_the_training(
    home: Path, capsys, case: str, part: str
) -> None:
    copy_image(home / "data", "phantom_001", case)
    assert train() == 1
    error = capsys.readouterr().err
    assert f"'{case}' of '{part}' shows the same image as 'phantom_001' of 'train'" in error
    assert "take it as it is with 'accept=[\"shared-images\"]'" in error
    assert not (home / "runs" / "tiny" / "metrics.jsonl").exists()


def test_what_was_accepted_stays_in_the_model_and_on_its_card(home: Path) -> None:
    copy_image(home / "data", "phantom_001", "phantom_003")
    assert train('accept=["shared-images"]') == 0
    info = read_model(home / "runs" / "tiny" / "model")
    assert info.training["config"]["accept"] == ["shared-images"]
    [sentence] = info.training["accepted"]
    assert "'phantom_003' of 'test' shows the same image" in sentence
    card = read_card(home / "runs" / "tiny" / "model")
    assert f"**Overruled by the person who trained it**: {sentence}" in card


def test_an_honest_training_has_nothing_of_it_on_its_card(home: Path) -> None:
    assert train() == 0
    assert read_model(home / "runs" / "tiny" / "model").training["accepted"] == []
    assert "Overruled" not in read_card(home / "runs" / "tiny" / "model")


def test_a_share_of_the_subjects_is_at_least_one(home: Path) -> None:
    assert train("data.share=0.000001", "optimisation.iterations=1") == 0


def test_copies_of_label_maps_are_found_too(home: Path, capsys) -> None:
    labels = home / "data" / "labels"
    shutil.copy(labels / "phantom_000.nii.gz", labels / "phantom_003.nii.gz")
    split = {"train": ["phantom_000", "phantom_001"], "val": ["phantom_003"]}
    (home / "split.json").write_text(json.dumps(split), encoding="utf-8")
    assert train(
        "data.source=generated", "data.labels=data/labels", "data.split=split.json",
        "preparation.normalisation=percentile",
    ) == 1  # fmt: skip
    assert "'phantom_003' of 'val' shows the same image as 'phantom_000'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: np.where(np.arange(16) < 9, np.nan, a), "more than half"),
        (lambda a: a * 0 + 7, "every voxel of the image has one value"),
    ],
)
def test_a_training_image_without_values_is_refused_by_its_case(
    home: Path, capsys, change, sentence: str
) -> None:
    path = home / "data" / "images" / "phantom_001.nii.gz"
    volume = read_volume(path)
    write_volume(path, change(volume.array), volume.geometry)
    assert train() == 1
    error = capsys.readouterr().err
    assert "Case 'phantom_001'" in error
    assert sentence in error


def test_voxels_of_another_scale_are_refused_by_their_case(home: Path, capsys) -> None:
    assert train("preparation.spacing=[0.05,0.05,0.05]") == 1
    error = capsys.readouterr().err
    assert "Case 'phantom_000': phantom_000.nii.gz has voxels of 1 x 1 x 1 mm" in error
    assert "'accept=[\"spacing\"]'" in error


def test_phantoms_of_the_helpers_carry_no_digest() -> None:
    check_shared(phantom_cases(1), {"test": phantom_cases(1)}, NOTHING)
