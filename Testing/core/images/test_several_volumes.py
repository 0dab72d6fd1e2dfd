"""Files with a fourth axis: one volume is read, and a person says which."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from image_files import assert_one_sentence, nifti
from MorseCore import read_image
from MorseCore.errors import ImageError
from MorseCore.images.imageio import ReadOptions, read_volume

SHAPE = (3, 4, 5, 6)  # volumes, k, j, i
DIRECTIONS = "(1,0,0) (0,2,0) (0,0,3)"


def voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32)


def refused(path: Path, reason: str, **choice: object) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        read_volume(path, ReadOptions(**choice))
    assert_one_sentence(caught.value, path.name)


def write(path: Path, array: np.ndarray) -> Path:
    """A turned grid, so that what becomes of directions is seen."""
    image = SimpleITK.GetImageFromArray(array, isVector=False)
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection([c, -s, 0, 0, s, c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    image.SetSpacing([1, 2, 3, 4])
    image.SetOrigin([5, 6, 7, 8])
    SimpleITK.WriteImage(image, str(path), path.name.endswith((".gz", "packed.nrrd")))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "packed.nrrd", "a.mha", "a.mhd"])
def test_a_volume_of_a_file_with_four_axes_is_the_one_asked_for(tmp_path: Path, name: str):
    array = voxels()
    path = write(tmp_path / name, array)
    alone = tmp_path / "alone.nrrd"
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    SimpleITK.WriteImage(reader.Execute()[:, :, :, 0], str(alone))
    for number in range(3):
        volume = read_volume(path, ReadOptions(volume=number))
        assert np.array_equal(volume.array, array[number])
        assert volume.geometry.is_close(read_volume(alone).geometry)
        assert volume.ndim == 3
    refused(path, "3 volumes of 6 x 5 x 4 voxels; choose one with --volume 0 to 2")
    for number in (3, -1):
        refused(path, f"3 volumes, counted from 0; there is no volume {number}", volume=number)
    assert np.array_equal(read_image(path, volume=2).array, array[2])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_a_fourth_axis_of_one_is_no_choice(tmp_path: Path, name: str):
    path = write(tmp_path / name, voxels()[:1])
    for number in (None, 0):
        assert np.array_equal(read_volume(path, ReadOptions(volume=number)).array, voxels()[0])
    refused(path, "has one volume; there is no volume 1", volume=1)


def test_a_file_of_three_axes_has_one_volume(tmp_path: Path):
    path = nifti(tmp_path / "a.nii.gz", voxels()[0])
    assert np.array_equal(read_volume(path, ReadOptions(volume=0)).array, voxels()[0])
    refused(path, "has one volume; there is no volume 2", volume=2)
    refused(path, "no DICOM file and has no series", series="1.2")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_missing_voxels_are_those_of_the_chosen_volume(tmp_path: Path, name: str):
    array = voxels()
    array[0, 0, 0, 0] = np.nan
    array[1, 3, 4, 5] = np.inf
    array[1, 2, 1, 0] = np.nan
    path = write(tmp_path / name, array)
    for number in range(3):
        found = read_volume(path, ReadOptions(volume=number)).array
        assert np.array_equal(np.isnan(found), ~np.isfinite(array[number]))
        there = np.isfinite(array[number])
        assert np.array_equal(found[there], array[number][there])


def nrrd(path: Path, array: np.ndarray, *, kinds: str, is_first: bool) -> Path:
    sizes = " ".join(map(str, array.shape[::-1]))
    directions = f"none {DIRECTIONS}" if is_first else f"{DIRECTIONS} none"
    header = (
        "NRRD0005\ntype: float\ndimension: 4\nspace: left-posterior-superior\n"
        f"sizes: {sizes}\nspace directions: {directions}\nkinds: {kinds}\n"
        "endian: little\nencoding: raw\nspace origin: (1,2,3)\n\n"
    )
    path.write_bytes(header.encode() + np.ascontiguousarray(array).astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("is_first", [True, False])
def test_a_list_in_nrrd_holds_volumes_wherever_its_axis_is(tmp_path: Path, is_first: bool):
    array = voxels()
    kinds = "list domain domain domain" if is_first else "domain domain domain list"
    stored = np.moveaxis(array, 0, -1) if is_first else array
    path = nrrd(tmp_path / "a.nrrd", stored, kinds=kinds, is_first=is_first)
    for number in range(3):
        volume = read_volume(path, ReadOptions(volume=number))
        assert np.array_equal(volume.array, array[number])
        assert volume.geometry.spacing == (1, 2, 3)
        np.testing.assert_allclose(volume.geometry.origin, (-1, -2, 3))
    refused(path, "3 volumes of 6 x 5 x 4 voxels; choose one with --volume 0 to 2")
    refused(path, "there is no volume 3", volume=3)


@pytest.mark.parametrize("kind", ["vector", "RGB-color", "3-vector"])
def test_the_parts_of_a_vector_are_no_volumes(tmp_path: Path, kind: str):
    path = nrrd(
        tmp_path / "a.nrrd", np.moveaxis(voxels(), 0, -1),
        kinds=f"{kind} domain domain domain", is_first=True,
    )  # fmt: skip
    refused(path, "3 values a voxel")
    refused(path, "has one volume|3 values a voxel", volume=1)


def test_five_axes_are_too_many(tmp_path: Path):
    nibabel = pytest.importorskip("nibabel")
    array = np.zeros((6, 5, 4, 2, 3), np.float32)
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", r"5 axes \(6 x 5 x 4 x 2 x 3\)", volume=0)
