"""What is refused before a network sees it: voxels without a value, label maps."""

import numpy as np
import pytest

from image_files import SHAPE, grey_voxels
from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imagechecks import check_is_intensity_image, clean_voxels
from MorseCore.images.imageio import Volume


@pytest.fixture
def scan() -> np.ndarray:
    return grey_voxels()


def test_voxels_without_a_value_become_background(caplog: pytest.LogCaptureFixture) -> None:
    array = np.array([[[np.nan, -5.0, 3.0, np.inf, -np.inf]]], dtype=np.float32)
    cleaned, count = clean_voxels(array)
    assert cleaned.tolist() == [[[-5.0, -5.0, 3.0, -5.0, -5.0]]]
    assert cleaned.dtype == np.float32
    assert count == 3
    assert "3 voxels" in caplog.text


def test_a_clean_array_comes_back_itself(scan: np.ndarray) -> None:
    assert clean_voxels(scan) == (scan, 0)
    integers = np.zeros((1, 1, 1), np.int16)
    assert clean_voxels(integers)[0] is integers


def test_an_image_without_any_value_is_refused() -> None:
    with pytest.raises(ImageError, match="No voxel"):
        clean_voxels(np.full((2, 2, 2), np.nan, np.float32))


def as_volume(array: np.ndarray) -> Volume:
    return Volume(array, Geometry(array.shape, np.eye(4)), "scan.nii.gz")


def organs(dtype: type) -> np.ndarray:
    labels: np.ndarray = np.zeros((20, 20, 20), dtype)
    labels[2:12, 2:12, 2:12] = 1
    labels[12:19, 4:15, 4:15] = 2
    return labels


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_of_one_value_is_refused(value: int) -> None:
    with pytest.raises(ImageError, match=rf"scan\.nii\.gz: every voxel has the value {value}"):
        check_is_intensity_image(as_volume(np.full(SHAPE, value, np.int16)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_label_map_is_refused_whatever_its_type(dtype: type) -> None:
    with pytest.raises(ImageError, match=r"looks like a segmentation \(2 label\(s\), 0 to 2\)"):
        check_is_intensity_image(as_volume(organs(dtype)))


def coarse_noise() -> np.ndarray:
    """An MR of a low-dose kind rounded to 12 grey values: a label map by its values alone."""
    return np.random.default_rng(0).rayleigh(3, (20, 20, 20)).clip(0, 11).astype(np.uint8)


@pytest.mark.parametrize(
    "array",
    [
        organs(np.uint8) * 100,
        (organs(np.uint8) > 0).astype(np.uint8) * 255,
        organs(np.int16) - 1024,
        organs(np.float32) * 0.5,
        coarse_noise(),
        np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8),
        np.random.default_rng(0).normal(0, 300, (8, 8, 8)).astype(np.int16),
    ],
    ids=["phantom", "black-and-white", "ct", "fractions", "coarse", "8-bit", "16-bit"],
)
def test_an_image_is_let_through(array: np.ndarray) -> None:
    check_is_intensity_image(as_volume(array))
