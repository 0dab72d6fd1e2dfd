"""Reading and writing images: the voxels, their place, and files that are whole or not there."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from image_files import SHAPE, grey_voxels, nifti, oblique
from MorseCore.errors import GeometryError, ImageError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume, write_itk_image, write_labels, write_volume


@pytest.fixture
def scan() -> np.ndarray:
    return grey_voxels()


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_an_oblique_volume_survives_writing_and_reading(
    tmp_path: Path, scan: np.ndarray, name: str
) -> None:
    write_volume(tmp_path / name, scan, oblique())
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume.array, scan)
    assert volume.array.dtype == np.float32
    assert volume.geometry.is_close(oblique())
    assert (volume.source, volume.ndim) == (name, 3)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_formats_of_two_files_are_read(tmp_path: Path, scan: np.ndarray, suffix: str) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(scan), str(tmp_path / f"a{suffix}"))
    assert np.array_equal(read_volume(tmp_path / f"a{suffix}").array, scan)


def test_integers_are_read_as_they_are_and_doubles_as_floats(tmp_path: Path) -> None:
    for dtype, expected in [(np.int16, np.int16), (np.uint8, np.uint8), (np.float64, np.float32)]:
        array = np.arange(120).reshape(SHAPE).astype(dtype)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "a.nrrd"))
        volume = read_volume(tmp_path / "a.nrrd")
        assert volume.array.dtype == expected
        assert np.array_equal(volume.array, array)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    ones = np.ones(SHAPE, np.int16)
    path = nifti(tmp_path / "a.nii", ones, slope=("<2f", 112, (2.0, -1024.0)))
    assert read_volume(path).array[0, 0, 0] == -1022


def test_a_big_endian_nifti_is_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(120, dtype=">i2").reshape(6, 5, 4)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.Nifti1Image(array, np.diag([2.0, 3, 4, 1]), header).to_filename(tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.array, array.T)
    assert volume.geometry.spacing == (2, 3, 4)


def test_the_second_nifti_version_is_named(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    nibabel.Nifti2Image(array, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="save it as NIfTI-1"):  # ITK cannot read it
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_grey_picture_is_one_slice(tmp_path: Path, suffix: str) -> None:
    picture = np.full((7, 9), 50, np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    assert volume.array.shape == (1, 7, 9)
    assert np.array_equal(volume.array[0], picture)
    assert volume.ndim == 2
    assert volume.geometry.spacing == pytest.approx((1, 1, 1))


def test_a_grey_picture_stored_as_colour_is_grey(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (7, 9, 1), np.uint8).repeat(3, axis=2)
    image = SimpleITK.GetImageFromArray(picture, isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "a.png"))
    assert np.array_equal(read_volume(tmp_path / "a.png").array[0], picture[:, :, 0])


def test_a_name_with_spaces_and_letters_is_read(tmp_path: Path, scan: np.ndarray) -> None:
    write_volume(tmp_path / "Größe 1.5 mm.nii.gz", scan, oblique())
    assert read_volume(tmp_path / "Größe 1.5 mm.nii.gz").source == "Größe 1.5 mm.nii.gz"


def test_labels_are_stored_in_the_smallest_type(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.int64)
    geometry = Geometry(SHAPE, np.eye(4))
    for largest, dtype in [(255, np.uint8), (256, np.uint16)]:
        labels[1, 2, 3] = largest
        write_labels(tmp_path / "a.nii.gz", labels, geometry)
        back = read_volume(tmp_path / "a.nii.gz")
        assert back.array.dtype == dtype
        assert np.array_equal(back.array, labels)


@pytest.mark.parametrize("value", [-1, 70000, 0.5])
def test_labels_that_cannot_be_stored_are_refused(tmp_path: Path, value: float) -> None:
    labels = np.zeros(SHAPE)
    labels[0, 0, 0] = value
    with pytest.raises(ValueError, match="whole numbers"):
        write_labels(tmp_path / "a.nii.gz", labels, Geometry(SHAPE, np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_does_not_fit_the_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"\(4, 5, 6\) does not fit the grid \(4, 5, 7\)"):
        write_volume(tmp_path / "a.nii.gz", np.zeros(SHAPE), Geometry((4, 5, 7), np.eye(4)))


def test_an_unknown_suffix_is_refused(tmp_path: Path, scan: np.ndarray) -> None:
    with pytest.raises(OutputError, match=r"must end in one of \.nii\.gz"):
        write_volume(tmp_path / "a.xyz", scan, oblique())


def test_a_missing_output_folder_is_an_output_error(tmp_path: Path, scan: np.ndarray) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_volume(tmp_path / "none" / "a.nii.gz", scan, oblique())


def test_half_a_file_is_never_left_behind(
    tmp_path: Path, scan: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_volume(tmp_path / "a.nii.gz", scan, oblique())
    before = (tmp_path / "a.nii.gz").read_bytes()

    def write_half(image: SimpleITK.Image, name: str, **_: bool) -> None:
        Path(name).write_bytes(before[: len(before) // 2])  # the disk is full, and nobody says so

    monkeypatch.setattr(SimpleITK, "WriteImage", write_half)
    with pytest.raises(OutputError, match="is the disk full"):
        write_itk_image(tmp_path / "a.nii.gz", scan * 2, oblique())
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
