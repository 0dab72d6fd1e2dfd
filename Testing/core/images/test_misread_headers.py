"""Headers that ITK reads as something else than they say are refused, or said in the report."""

import itertools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from header_files import SIZE, meta, nrrd, raw, refused
from image_files import grey_voxels, nifti
from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.imageio import ReadOptions, read_volume
from MorseCore.system.acceptance import Acceptance

VOXELS = bytes(range(SIZE))


@pytest.mark.parametrize("line", ["ElementDataFile: %s%s 1 4 1", "\t ElementDataFile = %s%s 1 4 1"])
def test_a_pattern_is_found_however_its_line_is_written(tmp_path: Path, line: str):
    path = meta(tmp_path, "a.raw")
    path.write_text(path.read_text().replace("ElementDataFile = a.raw", line))
    refused(path, "by a pattern")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NDims", "99"),
        ("NDims", "-1"),
        ("DimSize", "6.5 5 4"),
        ("DimSize", "6 5 4 1"),
        ("Offset", "-10,5 0 0"),
        ("Offset", "nan 0 0"),
        ("HeaderSize", "-5"),
        ("ElementType", "MET_STRING"),
        ("ElementToIntensityFunctionSlope", "2"),
        ("DistanceUnits", "cm"),
    ],
)
def test_a_metaimage_field_that_itk_would_misread_is_refused(tmp_path: Path, key: str, value: str):
    raw(tmp_path)
    refused(meta(tmp_path, "a.raw", **{key: value}), f"{key}|contradicts itself|{value}")


@pytest.mark.parametrize(
    ("key", "value"), [("spacings", "1,2 1,1 2,5"), ("sizes", "6 5 4x"), ("byte skip", "-5")]
)
def test_an_nrrd_field_that_itk_would_misread_is_refused(tmp_path: Path, key: str, value: str):
    refused(nrrd(tmp_path, data=VOXELS, **{key: value}), f"says '{value}' for its {key}")


def test_directions_that_are_no_unit_vectors_are_refused(tmp_path: Path):
    raw(tmp_path)
    path = meta(tmp_path, "a.raw", TransformMatrix="2 0 0 0 1 0 0 0 1")
    with pytest.raises(GeometryError, match="lengths 2 x 1 x 1"):
        read_volume(path)


def test_an_axis_without_a_direction_is_none_of_a_volume(tmp_path: Path):
    fields = {"space": "left-posterior-superior", "space directions": "none (0,1,0) (0,0,1)"}
    refused(nrrd(tmp_path, data=VOXELS, **fields), "directions for 2 of its axes", GeometryError)


def test_a_header_of_its_own_before_the_voxels_is_not_taken_for_voxels(tmp_path: Path):
    path = meta(tmp_path, "LOCAL", HeaderSize="10")
    path.write_bytes(path.read_bytes() + VOXELS)
    refused(path, "HeaderSize 10")


def test_each_file_of_a_list_is_a_slice(tmp_path: Path):
    """ITK takes one slice out of each and leaves the rest of the volume as it was in memory."""
    raw(tmp_path, "a.raw", SIZE // 2)
    raw(tmp_path, "b.raw", SIZE // 2)
    refused(meta(tmp_path, "LIST\na.raw\nb.raw"), "2 files for its 4 slices")
    refused(meta(tmp_path, "LIST 3\na.raw"), "1 files for its 4 slices")
    refused(meta(tmp_path, "LIST\na.raw\na.raw\nb.raw\nb.raw"), "twice")


def test_one_short_file_of_a_list_is_named_although_another_is_longer(tmp_path: Path):
    for n, size in enumerate((90, 30, 60, 60)):
        raw(tmp_path, f"{n}.raw", size)
    with pytest.raises(ImageError, match=r"1\.raw is incomplete: 60 bytes are expected and 30"):
        read_volume(meta(tmp_path, "LIST\n0.raw\n1.raw\n2.raw\n3.raw"))


@pytest.mark.parametrize("size", [None, "20"])
def test_packed_voxels_without_their_right_length_are_refused(tmp_path: Path, size: str | None):
    fields = {"CompressedData": "True"} | ({} if size is None else {"CompressedDataSize": size})
    path = meta(tmp_path, "LOCAL", **fields)
    path.write_bytes(path.read_bytes() + zlib.compress(VOXELS))
    refused(path, "how many bytes its packed voxels have|ends too early")


def test_nrrd_voxels_in_another_packing_than_gzip_are_refused(tmp_path: Path):
    refused(nrrd(tmp_path, data=zlib.compress(VOXELS), encoding="gzip"), "packed with gzip")
    refused(nrrd(tmp_path, data=b"BZh9", encoding="bzip2"), "bzip2, which is not read")


def test_a_file_of_voxels_may_have_any_letters_in_its_name(tmp_path: Path):
    raw(tmp_path, "Schädel.raw")
    for path in (meta(tmp_path, "x"), nrrd(tmp_path, "data file: x")):
        lines = path.read_bytes().replace(b" x\n", " Schädel.raw\n".encode())
        path.write_bytes(lines)
        assert read_volume(path).array.shape == (4, 5, 6)


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1e", "\x85", "\u2028"])
def test_only_an_end_of_line_ends_a_line(tmp_path: Path, mark: str):
    """Else a comment could hold a smaller size than ITK reads."""
    path = nrrd(tmp_path, f"# comment{mark}sizes: 1 1 1", data=VOXELS[:-50])
    refused(path, f"{SIZE} bytes are expected")


def test_a_header_of_more_than_a_mebibyte_is_refused(tmp_path: Path):
    refused(nrrd(tmp_path, "#" + "x" * (1 << 20), sizes="1000 1000 1000"), "a header of more than")


def test_voxels_beyond_those_of_the_header_are_said(tmp_path: Path):
    raw(tmp_path, size=SIZE + 10)
    longer = nifti(tmp_path / "a.nii", grey_voxels())
    longer.write_bytes(longer.read_bytes() + bytes(100))
    for path in (meta(tmp_path, "a.raw"), longer):
        (note,) = read_volume(path).notes
        assert "are taken, so check that the size of the image is right" in note


@pytest.mark.parametrize("offset", [0.0, 348.0, -352.0, 352.5])
def test_voxels_of_a_nifti_do_not_begin_inside_its_header(tmp_path: Path, offset: float):
    path = nifti(tmp_path / "a.nii", grey_voxels(), offset=("<f", 108, (offset,)))
    refused(path, f"its voxels begin at byte {offset:g}; a whole number from 352 on")


def positions(path: Path, matrix: tuple[float, ...], **fields: tuple) -> Path:
    """A NIfTI file with the identity as its qform and another sform."""
    return nifti(
        path, np.random.default_rng(0).normal(100, 30, (6, 6, 6)).astype(np.float32),
        codes=("<2h", 252, (1, 1)), quaternion=("<6f", 256, (0.0,) * 6), face=("<f", 76, (1.0,)),
        sform=("<12f", 280, matrix), **fields,
    )  # fmt: skip


def test_positions_that_are_half_a_turn_apart_are_refused(tmp_path: Path):
    """LPS in one and RAS in the other exchange left and right, and mirror nothing."""
    path = positions(tmp_path / "a.nii", (-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0))
    refused(path, "turned half-way round.*--accept mirrored-position", GeometryError)
    accepted = ReadOptions(accepted=Acceptance(["mirrored-position"]))
    assert "accepted: mirrored-position" in read_volume(path, accepted).notes[0]


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 50, 0, 1, 0, 0, 0, 0, 1, 0),
        (0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0),  # turned about a diagonal, whose ends stay
    ],
)
def test_an_unequal_qform_beside_a_valid_sform_is_said(tmp_path: Path, matrix: tuple[float, ...]):
    (note,) = read_volume(positions(tmp_path / "a.nii", matrix)).notes
    assert "states two positions" in note


def test_positions_in_micrometres_are_compared_in_their_own_unit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    matrix = tuple(1000.0 * x for x in (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0))
    fields = {"unit": ("<b", 123, (3,)), "pixdim": ("<3f", 80, (1000.0,) * 3)}
    volume = read_volume(positions(tmp_path / "a.nii", matrix, **fields))
    assert volume.geometry.spacing == pytest.approx((1, 1, 1))
    assert caplog.text == ""


def test_a_position_with_an_axis_of_no_length_is_refused_in_true_words(tmp_path: Path):
    path = nifti(
        tmp_path / "a.nii", grey_voxels(), codes=("<2h", 252, (0, 1)), s=("<12f", 280, (0,) * 12)
    )
    refused(path, "an axis has no length", GeometryError)


@pytest.mark.parametrize(
    ("slope", "intercept", "is_said"),
    [(0, 0, 0), (np.nan, np.nan, 0), (2, -5, 0), (0, 5, 1), (np.inf, 0, 1), (2, np.nan, 1)],
)
def test_a_scale_that_cannot_be_meant_is_said(
    tmp_path: Path, slope: float, intercept: float, is_said: int
):
    fields = {"scale": ("<2f", 112, (slope, intercept))}
    notes = read_volume(nifti(tmp_path / "a.nii", grey_voxels(), **fields)).notes
    assert ["makes no sense" in note for note in notes] == [True] * is_said


def test_what_follows_a_packed_file_is_not_looked_at(tmp_path: Path):
    path = nifti(tmp_path / "a.nii.gz", grey_voxels())
    with path.open("ab") as stream:
        stream.write(b"junk")
    os.truncate(path, 1 << 32)  # takes no room; each piece of it was once copied with all before
    np.testing.assert_array_equal(read_volume(path).array, grey_voxels())


def test_a_packed_file_that_is_called_a_plain_one_is_told_its_name(tmp_path: Path):
    path = nifti(tmp_path / "a.nii.gz", grey_voxels()).rename(tmp_path / "a.nii")
    refused(path, r"call it 'a\.nii\.gz'")


@pytest.mark.parametrize("name", ["a.vtk", "a.gipl", "a.mrc", "a.mnc", "a.hdf5"])
def test_formats_whose_files_may_be_cut_off_unnoticed_are_not_read(tmp_path: Path, name: str):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey_voxels()), str(tmp_path / name))
    refused(tmp_path / name, "not an image in a format that can be read")


def test_what_a_file_is_counts_more_than_its_name(tmp_path: Path):
    """ITK reads a TIFF by any name, so that it must be whole by any name."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture()), str(tmp_path / "a.tif"))
    data = (tmp_path / "a.tif").read_bytes()
    for name in ("a.nrrd", "a"):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_volume(tmp_path / name).array[0], picture())
        (tmp_path / name).write_bytes(data[:-200])
        refused(tmp_path / name, "incomplete")


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)


def written(path: Path) -> bytearray:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture()), str(path))
    return bytearray(path.read_bytes())


def test_a_jpeg_s_end_is_not_that_of_its_preview(tmp_path: Path):
    data, path = written(tmp_path / "a.jpg"), tmp_path / "b.jpg"
    preview = b"Exif\0\0" + bytes(data)
    head = data[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    path.write_bytes(head + data[2:] + bytes(100_000))
    assert read_volume(path).array.shape == (1, 40, 50)
    path.write_bytes((head + data[2:])[:-300])
    refused(path, "incomplete")


def test_a_picture_that_claims_far_more_than_it_holds_is_refused(tmp_path: Path):
    data = written(tmp_path / "a.jpg")
    size = next(at for at in itertools.count() if data[at : at + 4] == struct.pack(">HH", 40, 50))
    data[size : size + 4] = struct.pack(">HH", 65000, 65000)
    (tmp_path / "a.jpg").write_bytes(data)
    refused(tmp_path / "a.jpg", "claims 4,225,000,000 pixels")
    data = written(tmp_path / "a.png")
    data[16:24] = struct.pack(">II", 60000, 60000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    refused(tmp_path / "a.png", "claims 3,600,000,000 pixels")


@pytest.mark.parametrize(("layout", "offset", "value"), [("<I", 30, 1), ("<I", 10, 0)])
def test_a_packed_or_damaged_bmp_is_refused(tmp_path: Path, layout: str, offset: int, value: int):
    data = written(tmp_path / "a.bmp")
    struct.pack_into(layout, data, offset, value)
    (tmp_path / "a.bmp").write_bytes(data)
    refused(tmp_path / "a.bmp", "packed or damaged")


def test_a_place_beyond_any_file_is_an_end_that_comes_too_early(tmp_path: Path):
    (tmp_path / "a.tif").write_bytes(b"II+\0" + struct.pack("<HHQ", 8, 0, 2**63 + 5) + bytes(100))
    refused(tmp_path / "a.tif", "incomplete")


def test_a_header_that_names_no_file_of_voxels_is_refused_in_true_words(tmp_path: Path):
    with pytest.raises(ImageError, match="does not name the file"):
        read_volume(nrrd(tmp_path, "data file: "))
