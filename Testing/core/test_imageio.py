"""Reading scans: what is right is read right, what is wrong is refused in one sentence."""

import gzip
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.errors import GeometryError, ImageError, MorseError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.imagechecks import check_is_intensity_image, clean_voxels
from MorseCore.imageio import Volume, read_volume, write_itk_image, write_labels, write_volume

SHAPE = (4, 5, 6)


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32)


def oblique() -> Geometry:
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1.0]])
    matrix = turn @ np.diag([0.7, 1.1, 2.9, 1.0])
    matrix[:3, 3] = (-31.5, 44.25, -107.125)
    return Geometry(SHAPE, matrix)


def nifti(path: Path, array: np.ndarray, **fields: tuple[str, int, tuple[float, ...]]) -> Path:
    """Write a small NIfTI and overwrite header fields: name=(struct format, offset, values)."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    packed = path.name.endswith(".gz")
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for layout, offset, values in fields.values():
        struct.pack_into(layout, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    return path


def assert_one_sentence(error: MorseError, name: str) -> None:
    text = str(error)
    assert name in text
    assert "\n" not in text
    assert "itk" not in text.lower()
    assert text.endswith((".", "?"))


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
        (four_axes, r"4 dimensions \(5 x 4 x 3 x 2\)"),
        (colour, "3 values a voxel"),
        (vectors, "2 values a voxel"),
        (complex_voxels, "complex"),
        (no_dicom, "no DICOM images"),
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
    read_volume(path)
    assert caplog.text == ""
    path = nifti(path, scan, codes=("<2h", 252, (1, 2)), sform=("<f", 292, (25.0,)))
    shifted = read_volume(path)
    other = nifti(path, scan, codes=("<2h", 252, (2, 1)), sform=("<f", 292, (25.0,)))
    assert (shifted.geometry.origin[0] == 25) or "differ by 25.0 mm" in caplog.text
    read_volume(other)
    assert "(sform and qform)" in caplog.text


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
