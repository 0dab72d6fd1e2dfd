"""Damaged DICOM series: the file at fault is named, and no slice goes missing in silence."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1

from dicom_files import SHAPE, put_pixels, save, slice_data, slice_pixels, write_series
from image_files import assert_one_sentence
from MorseCore.errors import GeometryError, ImageError, MorseError
from MorseCore.images.dicom import headers
from MorseCore.images.imageio import ReadOptions, read_volume
from MorseCore.system.acceptance import Acceptance


def refused(folder: Path, named: str, reason: str, kind: type[MorseError] = ImageError) -> None:
    """Reading the folder fails in a sentence that names a file and says why."""
    with pytest.raises(kind, match=reason) as caught:
        read_volume(folder)
    assert_one_sentence(caught.value, named)


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def change(**values: object) -> Callable[[Dataset, int], None]:
    """An edit of slice 2: elements with another value; None removes one."""

    def edit(data: Dataset, number: int) -> None:
        if number != 2:
            return
        for keyword, value in values.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)

    return edit


def garbage(file: Path) -> None:
    file.write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(3000))


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def pointer(file: Path) -> None:
    file.write_text("version https://example.org/spec/v1\nsize 1234\n")


@pytest.mark.parametrize("number", [0, 2, 4])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: cut(file, 0.9), "incomplete: 160 bytes are expected and"),
        (lambda file: cut(file, 0.5), "incomplete: it ends before its pixels begin"),
        (lambda file: cut(file, 0.2), "incomplete|damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:140]), "damaged DICOM file"),
        (lambda file: file.write_bytes(b""), r"it is empty \(0 bytes\)"),
        (zeros, "its beginning is that of no DICOM file"),
        (pointer, "its beginning is that of no DICOM file"),
        (garbage, "damaged"),
    ],
)
def test_a_slice_that_cannot_be_read_is_an_error_and_not_left_out(
    tmp_path: Path, number: int, spoil: Callable[[Path], object], reason: str
):
    files = write_series(tmp_path / "case", 5)
    spoil(files[number])
    refused(tmp_path / "case", files[number].name, reason)


def test_every_second_slice_that_cannot_be_read_leaves_no_coarser_volume(tmp_path: Path):
    files = write_series(tmp_path / "case", 16)
    for file in files[1::2]:
        garbage(file)
    refused(tmp_path / "case", min(file.name for file in files[1::2]), r"; 7 other file\(s\)")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="NOT TESTED: as root")
def test_a_slice_that_may_not_be_read_is_an_error(tmp_path: Path):
    files = write_series(tmp_path / "case", 5)
    files[2].chmod(0)
    refused(tmp_path / "case", files[2].name, "Permission denied")


def test_slices_without_suffix_are_accounted_for_as_well(tmp_path: Path):
    files = write_series(tmp_path / "case", 5)
    for file in files:
        file.rename(file.with_suffix(""))
    (tmp_path / "case" / "README").write_text("About these images.")
    (tmp_path / "case" / "DICOMDIR").write_bytes(bytes(300))
    assert read_volume(tmp_path / "case").array.shape == (5, *SHAPE)
    zeros(files[4].with_suffix(""))
    refused(tmp_path / "case", files[4].stem, "no DICOM file")


def test_what_lies_beside_images_is_ignored(tmp_path: Path):
    write_series(tmp_path / "case", 5)
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "table.csv", "desktop.ini", "LOCKFILE"):
        (tmp_path / "case" / name).write_bytes(bytes(10))
    (tmp_path / "case" / "deeper").mkdir()
    volume = read_volume(tmp_path / "case")
    assert volume.array.shape == (5, *SHAPE)
    assert volume.notes == ()


def other_size(data: Dataset, number: int) -> None:
    if number == 2:
        put_pixels(data, np.ones((10, 8), np.int16))


def float_text(data: Dataset, number: int) -> None:
    if number == 2:
        data.add_new("PixelSpacing", "LO", ["0,75", "0,5"])


@pytest.mark.parametrize(
    ("edit", "reason", "kind"),
    [
        (other_size, "has 8 x 10 pixels .* have 10 x 8", ImageError),
        (change(Rows=4), "80 bytes, and it holds 160", ImageError),
        (change(Rows=16), "incomplete: 320 bytes are expected and 160", ImageError),
        (change(Rows=0), "10 x 0 pixels", ImageError),
        (change(Rows=None), "lacks Rows", ImageError),
        (change(BitsAllocated=None), "lacks BitsAllocated", ImageError),
        (change(BitsAllocated=12), "12 bits a pixel", ImageError),
        (change(BitsStored=20), "contradicts itself about its 16 bits", ImageError),
        (change(HighBit=7), "contradicts itself about its 16 bits", ImageError),
        (change(PixelData=None), "ends before its pixels begin", ImageError),
        (change(ImageOrientationPatient=[0, 1, 0, 0, 0, 1]), "turned against", GeometryError),
        (change(ImageOrientationPatient=[1, 0, 0, 0, 2, 0]), "unit vectors", GeometryError),
        (change(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]), "right angles", GeometryError),
        (change(ImageOrientationPatient=None), "where in the patient", GeometryError),
        (change(ImagePositionPatient=None), "where in the patient", GeometryError),
        (change(PixelSpacing=[0.75, 0.6]), "pixels of 0.6 x 0.75 mm", GeometryError),
        (change(PixelSpacing=None), r"\(PixelSpacing\) and the other slices", GeometryError),
        (change(PixelSpacing=[0, 0.5]), "0.5 x 0 mm", GeometryError),
        (change(PixelSpacing=[-0.75, 0.5]), "0.5 x -0.75 mm", GeometryError),
        (float_text, r"says '0,75\\0,5' for its PixelSpacing", ImageError),
        (change(RescaleSlope=0), "RescaleSlope of 0", ImageError),
        (change(FrameOfReferenceUID="1.2.3"), "another frame of reference", ImageError),
        (change(PatientID="8"), "another patient", ImageError),
        (change(StudyInstanceUID="1.2.3"), "another study", ImageError),
        (change(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "mosaic", ImageError),
        (change(NumberOfFrames=3), "incomplete: 480 bytes", ImageError),
        (change(NumberOfFrames=0), "has 0 frames", ImageError),
        (change(PhotometricInterpretation="RGB"), "colour image", ImageError),
        (change(PhotometricInterpretation="PALETTE COLOR"), "colour image", ImageError),
        (change(ModalityLUTSequence=[Dataset()]), "by a table", ImageError),
    ],
)  # fmt: skip
def test_a_slice_that_differs_from_the_others_is_named(
    tmp_path: Path, edit: Callable[[Dataset, int], None], reason: str, kind: type[MorseError]
):
    files = write_series(tmp_path / "case", 5, edit=edit)
    refused(tmp_path / "case", files[2].name, reason, kind)


def test_a_file_that_is_there_twice_is_named(tmp_path: Path):
    files = write_series(tmp_path / "case", 5)
    shutil.copy(files[3], tmp_path / "case" / "zz copy.dcm")
    refused(tmp_path / "case", files[3].name, "and zz copy.dcm are one image twice")


def test_one_uid_for_all_slices_is_odd_and_no_harm(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        data.SOPInstanceUID = "1.2.3"

    write_series(tmp_path / "case", 5, edit=edit)
    assert np.array_equal(read_volume(tmp_path / "case").array, [slice_pixels(n) for n in range(5)])


@pytest.mark.parametrize("name", ["IM9.dcm.part", "IM9.dcm.gz", "IM9.dcm.crdownload"])
def test_a_slice_that_is_half_copied_or_packed_is_no_other_file(tmp_path: Path, name: str):
    write_series(tmp_path / "case", 5)
    (tmp_path / "case" / name).write_bytes(b"\x1f\x8b" + bytes(100))
    refused(tmp_path / "case", name, "called like an image of this folder")


def test_sequences_within_sequences_without_end_are_refused(tmp_path: Path):
    path = save(slice_data(0), tmp_path / "a.dcm")
    data = path.read_bytes()
    place = data.index(b"\x08\0\x60\0CS")
    nested = (b"\x08\0\x15\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * 5000
    path.write_bytes(data[:place] + nested)
    refused(path, "a.dcm", "damaged|incomplete")


@pytest.mark.parametrize("spacing", [None, [0, 0], [-1, -1]])
def test_a_series_without_a_size_of_its_pixels_is_refused(tmp_path: Path, spacing: object):
    def edit(data: Dataset, number: int) -> None:
        del data.PixelSpacing
        if spacing is not None:
            data.PixelSpacing = spacing

    write_series(tmp_path / "case", 5, edit=edit)
    refused(tmp_path / "case", ".dcm", "PixelSpacing", GeometryError)


def empty(*numbers: int, value: int = 0) -> Callable[[Dataset, int], None]:
    def edit(data: Dataset, number: int) -> None:
        if number in numbers:
            put_pixels(data, np.full(SHAPE, value, np.int16))

    return edit


@pytest.mark.parametrize("value", [0, 77])
@pytest.mark.parametrize("numbers", [(2,), (2, 3)])
def test_a_slice_of_one_value_among_others_is_refused_unless_accepted(
    tmp_path: Path, numbers: tuple[int, ...], value: int
):
    files = write_series(tmp_path / "case", 6, edit=empty(*numbers, value=value))
    refused(tmp_path / "case", files[2].name, "shows nothing.*--accept empty-slice")
    options = ReadOptions(accepted=Acceptance(["empty-slice"]))
    volume = read_volume(tmp_path / "case", options)
    assert (volume.array[2] == value).all()
    assert files[2].name in volume.notes[0]


def test_a_slice_whose_lower_half_is_zeros_is_refused(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        if number == 2:
            pixels = slice_pixels(2)
            pixels[4:] = 0
            put_pixels(data, pixels)

    files = write_series(tmp_path / "case", 5, edit=edit)
    refused(tmp_path / "case", files[2].name, "zeros below row 4")


def test_empty_slices_where_a_mask_ends_are_no_fault(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        pixels = np.zeros(SHAPE, np.int16)
        size = {0: 0, 1: 1, 5: 1, 6: 0}.get(number, 4)
        pixels[2 : 2 + size, 3 : 3 + size] = 50
        put_pixels(data, pixels)

    write_series(tmp_path / "case", 7, edit=edit)
    assert read_volume(tmp_path / "case").notes == ()


def test_an_empty_slice_at_an_abrupt_end_is_said(tmp_path: Path):
    files = write_series(tmp_path / "case", 5, edit=empty(4))
    (note,) = read_volume(tmp_path / "case").notes
    assert files[4].name in note
    assert "shows nothing" in note


def test_a_missing_slice_is_placed_between_two_files(tmp_path: Path):
    files = write_series(tmp_path / "case", 6)
    files[3].unlink()
    reason = rf"2\.00 to 4\.00 mm apart \(furthest between {files[2].name} and {files[4].name}\)"
    refused(tmp_path / "case", files[2].name, reason, GeometryError)


def test_every_second_slice_missing_is_seen_in_the_numbers(tmp_path: Path):
    def edit(data: Dataset, number: int) -> None:
        data.SpacingBetweenSlices = 2

    for file in write_series(tmp_path / "stated", 9, edit=edit)[1::2]:
        file.unlink()
    refused(tmp_path / "stated", "stated", "4.00 mm apart and say 2.00 mm", GeometryError)
    for file in write_series(tmp_path / "silent", 9)[1::2]:
        file.unlink()
    assert (
        "numbered 1 to 9, and 5 of these 9 are there" in read_volume(tmp_path / "silent").notes[0]
    )


def test_pixels_that_are_not_compressed_as_they_say_are_refused(tmp_path: Path):
    save(slice_data(0), tmp_path / "a.dcm")
    data = (tmp_path / "a.dcm").read_bytes()
    plain, packed = b"1.2.840.10008.1.2.1\0", JPEGLosslessSV1.encode()
    meta = data.replace(b"UI\x14\0" + plain, b"UI\x16\0" + packed)
    (tmp_path / "a.dcm").write_bytes(meta)
    with pytest.raises(ImageError, match="says that its pixels are compressed") as caught:
        read_volume(tmp_path / "a.dcm")
    assert_one_sentence(caught.value, "a.dcm")


def test_a_compression_that_is_not_read_is_named(tmp_path: Path):
    data = slice_data(0)
    data.PixelData = encapsulate([b"film"])
    save(data, tmp_path / "a.dcm", syntax="1.2.840.10008.1.2.4.102")
    with pytest.raises(ImageError, match=r"MPEG-4.*export it uncompressed") as caught:
        read_volume(tmp_path / "a.dcm")
    assert_one_sentence(caught.value, "a.dcm")


def test_a_deflated_file_is_read_and_half_of_one_or_a_bomb_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = save(slice_data(3), tmp_path / "a.dcm", syntax=DeflatedExplicitVRLittleEndian)
    assert np.array_equal(read_volume(path).array[0], slice_pixels(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    refused(path, "a.dcm", "incomplete: its compressed data ends too early")
    path.write_bytes(whole[:-40] + bytes(40))
    refused(path, "a.dcm", "incomplete|damaged")
    path.write_bytes(whole)
    monkeypatch.setattr(headers, "_LARGEST_INFLATED", 500)
    refused(path, "a.dcm", "unpacks to more than")


def test_without_pydicom_a_sentence_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_series(tmp_path / "case", 3)
    monkeypatch.setitem(sys.modules, "pydicom.filereader", None)
    refused(tmp_path / "case", "pydicom", "lacks the package 'pydicom")
