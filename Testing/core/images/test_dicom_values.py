"""What the numbers in DICOM files mean: scales, bits, compression, frames, inversion."""

import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from dicom_files import (
    ENHANCED_CT,
    PET,
    SHAPE,
    enhanced_data,
    item,
    put_jpeg,
    put_pixels,
    save,
    slice_data,
    slice_pixels,
    write_series,
)
from image_files import assert_one_sentence
from MorseCore.errors import GeometryError, ImageError, MorseError
from MorseCore.images.imageio import ReadOptions, read_volume
from MorseCore.system.acceptance import Acceptance

SMALL_MR = Path(pydicom.__file__).parent / "data" / "test_files"
"""One MR slice in many transfer syntaxes, which pydicom brings along."""


def itk_volume(path: Path) -> SimpleITK.Image:
    return SimpleITK.ReadImage(str(path))


def refused(path: Path, reason: str, kind: type[MorseError] = ImageError) -> None:
    with pytest.raises(kind, match=reason) as caught:
        read_volume(path)
    assert_one_sentence(caught.value, path.name)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_plain_series_has_its_values_places_and_type(tmp_path: Path, syntax: str):
    write_series(tmp_path / "case", 5, syntax=syntax)
    volume = read_volume(tmp_path / "case")
    assert np.array_equal(volume.array, [slice_pixels(n) for n in range(5)])
    assert volume.array.dtype == np.int16
    assert volume.geometry.spacing == pytest.approx((0.5, 0.75, 2.0))
    np.testing.assert_allclose(
        volume.geometry.to_world(np.array([2, 4, 3])), [9, -23, 6], atol=1e-9
    )


def test_big_endian_files_are_read(tmp_path: Path):
    data = slice_data(3)
    data.PixelData = slice_pixels(3).byteswap().tobytes()
    path = save(data, tmp_path / "a.dcm", syntax=ExplicitVRBigEndian)
    assert np.array_equal(read_volume(path).array[0], slice_pixels(3))


def test_files_without_a_preamble_are_read(tmp_path: Path):
    for file in write_series(tmp_path / "case", 4, syntax=ImplicitVRLittleEndian):
        data = file.read_bytes()
        file.write_bytes(data[144 + int.from_bytes(data[140:144], "little") :])
    assert np.array_equal(read_volume(tmp_path / "case").array, [slice_pixels(n) for n in range(4)])


def test_every_slice_of_a_pet_has_its_own_scale(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        data.SOPClassUID, data.Modality = PET, "PT"
        data.RescaleSlope = 0.5 + number

    write_series(tmp_path / "case", 4, edit=edit)
    volume = read_volume(tmp_path / "case")
    expected = np.stack([slice_pixels(n) * np.float64(0.5 + n) for n in range(4)])
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    assert volume.notes == ()


def test_a_scale_of_real_numbers_in_a_later_slice_is_not_rounded(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        data.RescaleSlope = 1 if number < 2 else 0.001

    write_series(tmp_path / "case", 4, edit=edit)
    volume = read_volume(tmp_path / "case")
    np.testing.assert_allclose(volume.array[3], slice_pixels(3) * 0.001, rtol=1e-6)
    assert "several scales" in volume.notes[0]  # no CT scanner does that


@pytest.mark.parametrize(
    ("stored", "intercept", "kind"),
    [
        (np.int16, 0, np.int16),
        (np.uint16, 0, np.uint16),
        (np.int16, -1024, np.int32),
        (np.uint8, 0, np.uint8),
        (np.uint8, -100, np.int16),
        (np.uint16, -32768, np.int16),
        (np.uint16, 0.5, np.float32),
    ],
)
def test_values_get_a_type_that_holds_all_of_them(
    tmp_path: Path, stored: type, intercept: float, kind: type
):
    limits = np.iinfo(stored)
    pixels = np.full(SHAPE, limits.max, stored)
    pixels[0, 0] = limits.min
    data = slice_data(0, pixels)
    data.RescaleIntercept = intercept
    array = read_volume(save(data, tmp_path / "a.dcm")).array
    assert array.dtype == kind
    assert array.max() == limits.max + intercept
    assert array.min() == limits.min + intercept


def test_an_overlay_in_unused_bits_is_no_value(tmp_path: Path):
    for sign, values in ((0, [5, 4095]), (1, [5, -1])):
        pixels = np.full(SHAPE, values[0], np.uint16)
        pixels[1:] = values[1] & 0x0FFF
        data = slice_data(0, pixels | 0xA000)
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, sign
        array = read_volume(save(data, tmp_path / "a.dcm")).array
        assert np.unique(array).tolist() == sorted(values)
        assert np.array_equal(array, SimpleITK.GetArrayFromImage(itk_volume(tmp_path / "a.dcm")))


@pytest.mark.parametrize("kind", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "padded"])
def test_every_compression_gives_the_values_of_the_plain_file(kind: str):
    plain = read_volume(SMALL_MR / "MR_small.dcm")
    packed = read_volume(SMALL_MR / f"MR_small_{kind}.dcm")
    assert np.array_equal(packed.array, plain.array)
    assert packed.geometry.is_close(plain.geometry)


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(100, 20, (64, 64)).astype(np.int16)


def jpeg_series(folder: Path) -> list[Path]:
    """Ten slices of 64 x 64 voxels in lossless JPEG."""
    files = []
    for number in range(10):
        data = slice_data(number)
        put_jpeg(data, noise(number), folder)
        data.RescaleIntercept = -1024
        files.append(save(data, folder / "case" / f"IM{number}.dcm", syntax=JPEGLosslessSV1))
    return files


def test_a_compressed_series_is_read_and_rescaled(tmp_path: Path):
    jpeg_series(tmp_path)
    array = read_volume(tmp_path / "case").array
    assert np.array_equal(array, [noise(n).astype(np.int32) - 1024 for n in range(10)])


def test_one_compressed_slice_among_plain_ones_is_read(tmp_path: Path):
    whole = read_volume(jpeg_series(tmp_path)[0].parent).array
    data = slice_data(4, noise(4))
    data.RescaleIntercept = -1024
    save(data, tmp_path / "case" / "IM4.dcm")
    assert np.array_equal(read_volume(tmp_path / "case").array, whole)


def test_a_compressed_slice_that_is_cut_or_overwritten_is_refused(tmp_path: Path):
    file = jpeg_series(tmp_path)[3]
    whole = file.read_bytes()
    for spoilt in (
        whole[:-8],
        whole[: len(whole) * 3 // 4],
        whole[: len(whole) * 3 // 4] + bytes(len(whole) // 4 - 8) + whole[-8:],
        whole.replace(b"\xff\xd8", b"\0\0"),
    ):
        file.write_bytes(spoilt)
        with pytest.raises(ImageError, match=r"incomplete|damaged") as caught:
            read_volume(tmp_path / "case")
        assert_one_sentence(caught.value, file.name)


def test_what_lies_behind_compressed_pixels_does_not_reach_the_decoder(tmp_path: Path):
    file = jpeg_series(tmp_path)[3]
    whole = read_volume(tmp_path / "case").array
    plain = file.read_bytes()
    # The decoder refuses the first and, if it gets it, never comes back from the second.
    for behind in (np.random.default_rng(0).bytes(2000), bytes.fromhex("cd952bc018f1149a")):
        file.write_bytes(plain + behind)
        assert np.array_equal(read_volume(tmp_path / "case").array, whole)


def compressed_bytes(data: Dataset) -> bytes:
    """Of a data set with one frame in one part."""
    value = data.PixelData
    table = int.from_bytes(value[4:8], "little")
    start = 8 + table + 8
    return value[start : start + int.from_bytes(value[start - 4 : start], "little")]


def test_compressed_frames_have_their_own_places_and_scales(tmp_path: Path):
    data = enhanced_data([4, 0, 2], scales=[(1, 0), (10, 0), (0.5, 1)])
    plain = read_volume(save(data, tmp_path / "a.dcm"))
    parts = []
    for number in range(3):
        put_jpeg(data, np.full(SHAPE, number + 1, np.uint16), tmp_path)
        parts.append(compressed_bytes(data))
    data.PixelData = encapsulate(parts)
    volume = read_volume(save(data, tmp_path / "a.dcm", syntax=JPEGLosslessSV1))
    assert volume.array[:, 0, 0].tolist() == [20, 2.5, 1]
    assert np.array_equal(volume.array, plain.array)
    assert volume.geometry.is_close(plain.geometry)


@pytest.mark.parametrize("has_table", [True, False])
def test_frames_in_several_parts_are_joined_or_refused(tmp_path: Path, has_table: bool):
    data = pydicom.dcmread(SMALL_MR / "MR_small_RLE.dcm")
    frame = compressed_bytes(data)
    data.PixelData = encapsulate([frame], fragments_per_frame=3, has_bot=False)
    plain = read_volume(SMALL_MR / "MR_small.dcm").array
    path = save(data, tmp_path / "a.dcm", syntax=RLELossless)
    assert np.array_equal(read_volume(path).array, plain)
    many = enhanced_data([0, 1])
    put_pixels(many, np.zeros((2, 64, 64), np.int16))
    many.PixelData = encapsulate([frame, frame], fragments_per_frame=3, has_bot=has_table)
    many["PixelData"].is_undefined_length = True
    save(many, path, syntax=RLELossless)
    if has_table:
        assert np.array_equal(read_volume(path).array, np.concatenate([plain, plain]))
    else:
        refused(path, "does not say which belong together")


def test_compressed_pixels_of_another_size_than_the_header_says_are_refused(tmp_path: Path):
    data = pydicom.dcmread(SMALL_MR / "MR_small_RLE.dcm")
    data.Rows = 32
    refused(save(data, tmp_path / "a.dcm", syntax=RLELossless), "contradicts itself|damaged")
    data.Rows, data.NumberOfFrames = 64, 2
    refused(save(data, tmp_path / "a.dcm", syntax=RLELossless), "2 frame.* pixels of 1")
    data.NumberOfFrames = 1
    data.PixelData = encapsulate([b"\x40\0\0\0" + bytes(60) + b"garbage!"])
    refused(save(data, tmp_path / "a.dcm", syntax=RLELossless), "damaged")


@pytest.mark.parametrize("sop_class", [ENHANCED_CT, "1.2.840.10008.5.1.4.1.1.4.1"])
def test_an_enhanced_file_has_places_sizes_and_scales_of_its_groups(tmp_path: Path, sop_class: str):
    data = enhanced_data([0, 2.5, 5, 7.5], scales=[(2, -5)], sop_class=sop_class)
    path = save(data, tmp_path / "a.dcm")
    volume = read_volume(path)
    assert volume.array[:, 0, 0].tolist() == [-3, -1, 1, 3]
    assert volume.geometry.spacing == pytest.approx((0.5, 0.75, 2.5))
    image = itk_volume(path)
    assert np.array_equal(volume.array, SimpleITK.GetArrayFromImage(image))
    spacing, origin, direction = volume.geometry.lps()
    np.testing.assert_allclose(spacing, image.GetSpacing())
    np.testing.assert_allclose(origin, image.GetOrigin())
    np.testing.assert_allclose(direction, image.GetDirection(), atol=1e-9)
    folder = path.parent / "case"
    folder.mkdir()
    path.rename(folder / "a.dcm")
    assert np.array_equal(read_volume(folder).array, volume.array)


def test_enhanced_frames_are_sorted_by_position_and_scaled_one_by_one(tmp_path: Path):
    data = enhanced_data([4, 0, 2], scales=[(1, 0), (10, 0), (0.5, 1)])
    volume = read_volume(save(data, tmp_path / "a.dcm"))
    assert volume.array[:, 0, 0].tolist() == [20, 2.5, 1]
    np.testing.assert_allclose(volume.geometry.to_world(np.zeros(3)), [10, -20, 0], atol=1e-9)


def test_enhanced_files_that_do_not_fit_are_refused(tmp_path: Path):
    path = tmp_path / "a.dcm"

    def turn(group: Dataset, number: int) -> None:
        if number == 1:
            group.PlaneOrientationSequence = item(ImageOrientationPatient=[0, 1, 0, 0, 0, 1])

    def grow(group: Dataset, number: int) -> None:
        if number == 1:
            group.PixelMeasuresSequence = item(PixelSpacing=[2, 2])

    save(enhanced_data([0, 1, 2], frame=turn), path)
    refused(path, "turned.*frame 2", GeometryError)
    save(enhanced_data([0, 1, 2], frame=grow), path)
    refused(path, "frame 2 has pixels of 2 x 2 mm", GeometryError)
    save(enhanced_data([0, 1, 3]), path)
    refused(path, "frame 2 and .*frame 3", GeometryError)
    data = enhanced_data([0, 1, 2])
    del data.PerFrameFunctionalGroupsSequence[2]
    save(data, path)
    refused(path, r"3 frame\(s\) and describes 2")
    data = enhanced_data([0, 1, 2])
    data.PixelData = data.PixelData[:-4]
    save(data, path)
    refused(path, "incomplete: 480 bytes are expected and 476")


def test_a_film_is_no_volume(tmp_path: Path):
    data = slice_data(0)
    put_pixels(data, np.ones((3, *SHAPE), np.uint8))
    data.NumberOfFrames = 3
    refused(save(data, tmp_path / "a.dcm"), "a film is no volume")


def test_the_frames_of_nuclear_medicine_are_evenly_spaced(tmp_path: Path):
    data = slice_data(0)
    place = {key: data[key].value for key in ("ImagePositionPatient", "ImageOrientationPatient")}
    del data.ImagePositionPatient, data.ImageOrientationPatient
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.20", "NM"
    put_pixels(data, np.stack([np.full(SHAPE, n + 1, np.uint16) for n in range(4)]))
    data.NumberOfFrames = data.NumberOfSlices = 4
    data.SpacingBetweenSlices = 3
    data.DetectorInformationSequence = item(**place)
    volume = read_volume(save(data, tmp_path / "a.dcm"))
    assert volume.array[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert volume.geometry.spacing == pytest.approx((0.5, 0.75, 3))
    np.testing.assert_allclose(volume.geometry.to_world(np.array([0, 0, 1])), [10, -20, 3])
    data.NumberOfSlices = 2
    refused(save(data, tmp_path / "a.dcm"), "4 frames of 2 slices")


def x_ray(**values: object) -> Dataset:
    data = slice_data(0, np.arange(80, dtype=np.uint16).reshape(SHAPE))
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1", "CR"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, keyword)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def test_an_x_ray_without_a_size_in_the_body_says_what_was_taken(tmp_path: Path):
    path = save(x_ray(ImagerPixelSpacing=[0.2, 0.1]), tmp_path / "a.dcm")
    volume = read_volume(path)
    assert volume.geometry.spacing[:2] == pytest.approx((0.1, 0.2))
    assert "0.1 x 0.2 mm large at the detector" in volume.notes[0]
    save(x_ray(), path)
    refused(path, r"how large its pixels are \(PixelSpacing\), or .*missing-spacing", GeometryError)
    volume = read_volume(path, ReadOptions(accepted=Acceptance(["missing-spacing"])))
    assert volume.geometry.spacing[:2] == (1, 1)
    assert "accepted: missing-spacing" in volume.notes[0]


def test_a_ct_does_not_take_the_size_at_the_detector(tmp_path: Path):
    data = slice_data(0)
    del data.PixelSpacing
    data.ImagerPixelSpacing = [0.2, 0.1]
    refused(save(data, tmp_path / "a.dcm"), "PixelSpacing", GeometryError)


def test_an_inverted_x_ray_is_turned_and_an_inverted_ct_keeps_its_unit(tmp_path: Path):
    data = x_ray(PhotometricInterpretation="MONOCHROME1", PixelSpacing=[1, 1])
    data.BitsStored, data.HighBit = 12, 11
    path = save(data, tmp_path / "a.dcm")
    volume = read_volume(path)
    assert volume.array[0, 0, :3].tolist() == [4095, 4094, 4093]
    assert "MONOCHROME1" in volume.notes[0]
    assert np.array_equal(volume.array, SimpleITK.GetArrayFromImage(itk_volume(path)))
    data.Modality = "CT"
    volume = read_volume(save(data, path))
    assert volume.array[0, 0, :3].tolist() == [0, 1, 2]
    assert "taken as they are" in volume.notes[0]


@pytest.mark.parametrize(("modality", "expected"), [("CR", False), ("CT", True)])
def test_inversion_is_the_same_for_compressed_files(tmp_path: Path, modality: str, expected: bool):
    data = pydicom.dcmread(SMALL_MR / "MR_small_RLE.dcm")
    plain = pydicom.dcmread(SMALL_MR / "MR_small.dcm")
    arrays = []
    for item_, syntax in ((data, RLELossless), (plain, ExplicitVRLittleEndian)):
        item_.PhotometricInterpretation, item_.Modality = "MONOCHROME1", modality
        item_.RescaleSlope, item_.RescaleIntercept = 2, -7
        arrays.append(read_volume(save(item_, tmp_path / "a.dcm", syntax=syntax)).array)
    assert np.array_equal(*arrays)
    stored = SimpleITK.GetArrayFromImage(itk_volume(SMALL_MR / "MR_small.dcm")).astype(np.int64)
    assert np.array_equal(arrays[0], 2 * stored - 7) == expected


def test_pixels_of_real_numbers_are_read(tmp_path: Path):
    data = slice_data(0)
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
    data.BitsAllocated = 32
    data.FloatPixelData = values.tobytes()
    assert np.array_equal(read_volume(save(data, tmp_path / "a.dcm")).array[0], values)


@pytest.mark.parametrize("name", ["rtdose", "rtstruct", "liver_1frame", "test-SR"])
def test_what_is_no_image_is_named(name: str):
    refused(SMALL_MR / f"{name}.dcm", "no image but a DICOM object")


def test_a_slice_alone_is_as_thick_as_it_says(tmp_path: Path):
    data = slice_data(0)
    path = save(data, tmp_path / "a.dcm")
    assert read_volume(path).geometry.spacing == pytest.approx((0.5, 0.75, 2))
    other = copy.deepcopy(data)
    other.SpacingBetweenSlices = 3
    assert read_volume(save(other, path)).geometry.spacing[2] == 3
