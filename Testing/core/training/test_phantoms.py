"""Phantoms: the same for one seed, with labels that fit, readable as a data set."""

from pathlib import Path

import numpy as np
import pytest

from MorseCore.images.preparation import Preparation
from MorseCore.training.dataset import open_dataset, prepare_case
from MorseCore.training.phantoms import LABELS, make_phantom, write_phantom_dataset
from training_runs import script


@pytest.mark.parametrize("shape", [(16, 16, 16), (12, 20, 16), (32, 32)])
def test_a_phantom_holds_a_ball_and_a_rod(shape):
    for seed in range(10):
        image, labels = make_phantom(seed, shape=shape)
        assert image.shape == labels.shape == shape
        assert set(np.unique(labels)) == set(LABELS)


def test_the_seed_decides_the_phantom():
    first, again, other = (make_phantom(seed, shape=(16, 16, 16)) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_the_labels_lie_on_the_brightness():
    image, labels = make_phantom(0, shape=(24, 24, 24), noise=0.0)
    means = [image[labels == value].mean() for value in LABELS]
    assert means[0] < 0.05
    assert means[1] > 0.85
    assert 0.3 < means[2] < 0.6


def test_boundary_voxels_are_mixed():
    image, labels = make_phantom(0, shape=(24, 24, 24), noise=0.0)
    assert ((image > 0.2) & (image < 0.8) & (labels == 1)).any()


@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 16)])
def test_the_data_set_can_be_read_and_split(tmp_path: Path, shape):
    path = write_phantom_dataset(tmp_path / "data", cases=(3, 1, 2), shape=shape)
    data = open_dataset(path, path.parent / "splits.json")
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [3, 1, 2]
    assert data.labels == LABELS
    preparation = Preparation(shape, (1.0,) * len(shape))
    case = prepare_case(data.splits["test"][0], preparation, num_classes=data.num_classes)
    assert np.array_equal(case.labels.reshape(shape), make_phantom(4, shape=shape)[1])


def test_the_script_writes_one_and_says_where(tmp_path: Path, capsys):
    main = script("make_phantoms").main
    assert main([str(tmp_path / "flat"), "--2d"]) == 0
    written = Path(capsys.readouterr().out.strip())
    data = open_dataset(written, written.parent / "splits.json")
    assert len(data.splits["train"]) == 96


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert script("make_phantoms").main([str(tmp_path / "file" / "data")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
