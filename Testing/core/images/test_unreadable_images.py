"""What is not one image, or has no grid, is refused in one sentence that names it."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from image_files import SHAPE, assert_one_sentence, grey_voxels, nifti, oblique
from MorseCore.errors import GeometryError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume, write_volume


@pytest.fixture
def scan() -> np.ndarray:
    return grey_voxels()


def missing(folder: Path) -> Path:
    return folder / "a.nii.gz"


def text(folder: Path) -> Path:
    (folder / "a.nii.gz").write_text("not an image\n" * 40)
    return folder / "a.nii.gz"


def text_called_nrrd(folder: Path) -> Path:
    (folder / "a.nrrd").write_text("not an image\n" * 40)
    return folder / "a.nrrd"


def nothing(folder: Path) -> Path:
    (folder / "a.nii.gz").touch()
    return folder / "a.nii.gz"


def companion(folder: Path) -> Path:
    (folder / "._a.nii.gz").write_bytes(b"\0\x05\x16\x07" * 30)
    return folder / "._a.nii.gz"


def half(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shape, dtype = ((64, 64), np.uint8) if name == "a.png" else ((20, 20, 20), np.int32)
        noise = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(folder / name), True)
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: len(raw) // 2])
        return folder / name

    return make


def flipped_bits(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        noise = np.random.default_rng(0).random((20, 20, 20), dtype=np.float32)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(folder / name), True)
        raw = bytearray((folder / name).read_bytes())
        for n in range(len(raw) // 2, len(raw) // 2 + 64):
            raw[n] ^= 0x55
        (folder / name).write_bytes(raw)
        return folder / name

    return make


def four_axes(folder: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4, 5), np.float32), isVector=False)
    SimpleITK.WriteImage(image, str(folder / "a.nii.gz"))
    return folder / "a.nii.gz"


def colour(folder: Path) -> Path:
    pixels = np.arange(105, dtype=np.uint8).reshape(5, 7, 3)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(folder / "a.png"))
    return folder / "a.png"


def vectors(folder: Path) -> Path:
    field = np.zeros((3, 4, 5, 2), np.float32)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(field, isVector=True), str(folder / "a.nrrd"))
    return folder / "a.nrrd"


def complex_voxels(folder: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.zeros(SHAPE, np.complex64))
    SimpleITK.WriteImage(image, str(folder / "a.nii.gz"))
    return folder / "a.nii.gz"


def no_dicom(folder: Path) -> Path:
    (folder / "case").mkdir()
    (folder / "case" / "notes.txt").write_text("nothing here")
    return folder / "case"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (missing, "There is no file or folder"),
        (text, "not a NIfTI image"),
        (text_called_nrrd, "not an image in a format that can be read"),
        (nothing, "0 bytes"),
        (companion, r"choose 'a\.nii\.gz'"),
        (half("a.nii"), "32352 bytes are expected"),
        (half("a.nii.gz"), "incomplete"),
        (half("a.nrrd"), "incomplete"),
        (half("a.mha"), "incomplete"),
        (half("a.png"), "cannot be read: it is damaged"),
        (flipped_bits("a.nii.gz"), "damaged"),
        (flipped_bits("a.nrrd"), "damaged"),
        (flipped_bits("a.mha"), "damaged"),
        (four_axes, "2 volumes of 5 x 4 x 3 voxels; choose one with --volume 0 to 1"),
        (colour, "3 values a voxel"),
        (vectors, "2 values a voxel"),
        (complex_voxels, "complex"),
        (no_dicom, "holds no images, neither DICOM nor others"),
    ],
)
def test_what_is_not_one_image_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(ImageError, match=reason) as caught:
        read_volume(path)
    assert_one_sentence(caught.value, path.name)


@pytest.mark.parametrize("step", [0.0, -2.0, float("nan")])
def test_a_nifti_spacing_that_is_none_is_refused(
    tmp_path: Path, scan: np.ndarray, step: float
) -> None:
    path = nifti(tmp_path / "a.nii.gz", scan, pixdim=("<f", 80, (step,)))
    with pytest.raises(GeometryError, match=f"{step:g} x 1 x 1 mm") as caught:
        read_volume(path)
    assert_one_sentence(caught.value, "a.nii.gz")


def test_a_nifti_position_that_is_not_a_number_is_refused(tmp_path: Path, scan: np.ndarray) -> None:
    path = nifti(tmp_path / "a.nii", scan, sform=("<f", 292, (float("nan"),)))
    with pytest.raises(GeometryError, match="not numbers"):
        read_volume(path)


@pytest.mark.parametrize("step", ["0", "-1", "nan"])
@pytest.mark.parametrize("name", ["a.mhd", "a.nrrd"])
def test_a_spacing_that_is_none_is_refused_in_other_formats(
    tmp_path: Path, name: str, step: str
) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(8))
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 1 {step} 1\nElementDataFile = a.raw\n"
    )
    (tmp_path / "a.nrrd").write_text(
        f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nspacings: 1 {step} 1\n"
        "encoding: raw\n\n12345678"
    )
    with pytest.raises(GeometryError, match=f"1 x {step} x 1 mm"):
        read_volume(tmp_path / name)


def test_an_axis_of_no_length_in_nrrd_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
        "space directions: (1,0,0) (0,0,0) (0,0,1)\nencoding: raw\n\n12345678"
    )
    with pytest.raises(GeometryError, match="zero size"):
        read_volume(tmp_path / "a.nrrd")


def test_sheared_axes_are_refused_in_nifti(tmp_path: Path, scan: np.ndarray) -> None:
    rows = (1.0, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path = nifti(tmp_path / "a.nii.gz", scan, codes=("<2h", 252, (0, 1)), sform=("<12f", 280, rows))
    with pytest.raises(GeometryError, match="not at right angles") as caught:
        read_volume(path)
    assert_one_sentence(caught.value, "a.nii.gz")


def test_sheared_axes_are_refused_in_nrrd(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
        "space directions: (1,0,0) (0.3,1,0) (0,0,1)\nencoding: raw\n\n12345678"
    )
    with pytest.raises(GeometryError, match="right angles"):
        read_volume(tmp_path / "a.nrrd")


def test_two_positions_in_a_nifti_are_mentioned(
    tmp_path: Path, scan: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    path = nifti(tmp_path / "a.nii.gz", scan, codes=("<2h", 252, (1, 1)))
    assert read_volume(path).notes == ()
    assert caplog.text == ""
    for codes in ((1, 2), (2, 1)):
        path = nifti(path, scan, codes=("<2h", 252, codes), sform=("<f", 292, (25.0,)))
        (note,) = read_volume(path).notes
        assert "two positions that lie up to 25.0 voxels apart (sform and qform)" in note
        assert note in caplog.text


@pytest.mark.parametrize(("step", "warns"), [(0.5, False), (0.001, True), (25.0, True)])
def test_an_implausible_spacing_is_read_with_a_warning(
    tmp_path: Path, scan: np.ndarray, caplog: pytest.LogCaptureFixture, step: float, warns: bool
) -> None:
    write_volume(tmp_path / "a.nrrd", scan, Geometry(SHAPE, np.diag([step, 1.0, 1.0, 1.0])))
    with caplog.at_level(logging.WARNING):
        assert read_volume(tmp_path / "a.nrrd").geometry.spacing[0] == step
    assert ("implausible" in caplog.text) == warns


def test_itks_own_warnings_are_switched_back_on(tmp_path: Path, scan: np.ndarray) -> None:
    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
    try:
        write_volume(tmp_path / "a.nrrd", scan, oblique())
        read_volume(tmp_path / "a.nrrd")
        assert SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)
