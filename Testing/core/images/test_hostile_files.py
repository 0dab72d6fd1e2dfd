"""Files that would hang, crash or fool the native readers are refused before these see them."""

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from header_files import SIZE, meta, nrrd, raw, refused
from image_files import assert_one_sentence, grey_voxels, nifti
from MorseCore.errors import GeometryError, ImageError, ModelError, MorseError
from MorseCore.images.imageio import read_volume
from MorseCore.store.library import import_model

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no pipes here")


def test_detached_voxels_that_are_all_there_are_read(tmp_path: Path):
    raw(tmp_path)
    for path in (meta(tmp_path, "a.raw"), nrrd(tmp_path, "data file: a.raw")):
        assert read_volume(path).array.shape == (4, 5, 6)
    for n in range(4):
        raw(tmp_path, f"slice{n}.raw", SIZE // 4)
    names = [f"slice{n}.raw" for n in range(4)]
    listed = meta(tmp_path, "LIST\n" + "\n".join(names))
    assert read_volume(listed).array.shape == (4, 5, 6)


@needs_pipes
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.dcm", "a.png"])
def test_a_pipe_is_no_image_and_nobody_waits_for_it(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "no regular file")


@needs_pipes
def test_a_pipe_among_dicom_files_or_behind_a_header_is_found(tmp_path: Path):
    (tmp_path / "case").mkdir()
    os.mkfifo(tmp_path / "case" / "slice.dcm")
    with pytest.raises(ImageError, match=r"slice\.dcm is no regular file"):
        read_volume(tmp_path / "case")
    os.mkfifo(tmp_path / "a.raw")
    for path in (meta(tmp_path, "a.raw"), nrrd(tmp_path, "data file: a.raw")):
        with pytest.raises(ImageError, match=r"a\.raw is no regular file"):
            read_volume(path)


@needs_pipes
def test_a_pipe_is_no_model(tmp_path: Path):
    os.mkfifo(tmp_path / "model.zip")
    with pytest.raises(ModelError, match="neither a model folder nor a zip file"):
        import_model(tmp_path / "model.zip", tmp_path / "models")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="NOT TESTED: no devices here")
def test_a_device_is_no_image(tmp_path: Path):
    with pytest.raises(ImageError, match="zero is no regular file"):
        read_volume(Path("/dev/zero"))
    (tmp_path / "a.raw").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match=r"a\.raw is no regular file"):
        read_volume(meta(tmp_path, "a.raw"))


@pytest.mark.parametrize("place", ["%%s 1 4 1", "slice%03d.raw 1 4 1", "%n.raw"])
def test_a_pattern_for_the_voxels_names_is_not_read(tmp_path: Path, place: str):
    refused(meta(tmp_path, place), "by a pattern")
    refused(nrrd(tmp_path, f"data file: {place}"), "by a pattern")


@pytest.mark.parametrize("place", ["../a.raw", "/etc/passwd", "sub/a.raw", "C:\\a.raw", "..\\a"])
def test_voxels_outside_of_the_header_s_folder_are_not_trusted(tmp_path: Path, place: str):
    refused(meta(tmp_path, place), "outside of its own folder")
    refused(nrrd(tmp_path, f"data file: {place}"), "outside of its own folder")


def test_voxels_that_are_missing_are_named(tmp_path: Path):
    refused(meta(tmp_path, "gone.raw"), "lacks the file with its voxels, 'gone.raw'")
    refused(nrrd(tmp_path, "data file: LIST", "gone.raw"), "lacks the file with its voxels")
    refused(nrrd(tmp_path, "data file: LIST"), "lists no file")
    (tmp_path / "folder.raw").mkdir()
    refused(meta(tmp_path, "folder.raw"), "names a folder")


def test_voxels_that_are_too_few_are_counted(tmp_path: Path):
    raw(tmp_path, size=SIZE - 1)
    for path in (meta(tmp_path, "a.raw"), nrrd(tmp_path, "data file: a.raw")):
        with pytest.raises(ImageError, match=f"{SIZE} bytes are expected and {SIZE - 1} are there"):
            read_volume(path)
    refused(nrrd(tmp_path, data=bytes(SIZE - 8)), "bytes are expected")
    refused(nrrd(tmp_path, data=b"", sizes="1000 1000 1000"), "2000000000 bytes are expected")


def test_a_compressed_stream_that_unpacks_to_too_little_is_no_image(tmp_path: Path):
    """ITK would show what lies in memory."""
    short = zlib.compress(bytes(SIZE // 2))
    path = meta(tmp_path, "LOCAL", CompressedData="True", CompressedDataSize=f"{len(short)}")
    path.write_bytes(path.read_bytes() + short)
    refused(path, f"{SIZE} bytes are expected and {SIZE // 2} are there")
    refused(nrrd(tmp_path, data=gzip.compress(bytes(10)), encoding="gzip"), "10 are there")


def test_a_stream_that_never_ends_is_given_up(tmp_path: Path):
    bomb = gzip.compress(bytes(1 << 27))
    refused(nrrd(tmp_path, data=bomb, encoding="gzip"), "unpacks to far more")


def picture(folder: Path, name: str, *, keep: float) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(folder / name))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(keep * len(data))])
    return folder / name


@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.bmp", "a.png"])
@pytest.mark.parametrize("keep", [0.9, 0.5, 0.05])
def test_a_picture_that_was_cut_off_is_refused(tmp_path: Path, name: str, keep: float):
    refused(picture(tmp_path, name, keep=keep), "incomplete|damaged|not an image")


@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.bmp", "a.png"])
def test_a_whole_picture_is_read(tmp_path: Path, name: str):
    assert read_volume(picture(tmp_path, name, keep=1.0)).array.shape == (1, 64, 64)


def test_a_tiff_whose_pages_go_in_a_circle_ends(tmp_path: Path):
    path = picture(tmp_path, "a.tif", keep=1.0)
    data = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    path.write_bytes(data)
    refused(path, "pages have no end")


@pytest.mark.parametrize(
    ("field", "expected", "kind"),
    [
        ({"bitpix": ("<h", 72, (8,))}, "contradicts itself", ImageError),
        ({"offset": ("<f", 108, (float("nan"),))}, "its voxels begin at byte", ImageError),
        ({"offset": ("<f", 108, (float("inf"),))}, "its voxels begin at byte", ImageError),
        ({"pixdim": ("<f", 80, (float("inf"),))}, "positive number", GeometryError),
        ({"q": ("<h", 252, (1,)), "b": ("<f", 256, (float("nan"),))}, "qform", GeometryError),
    ],
)
def test_a_nifti_header_that_makes_no_sense_is_refused(
    tmp_path: Path, field: dict, expected: str, kind: type[MorseError]
):
    refused(nifti(tmp_path / "a.nii", grey_voxels(), **field), expected, kind)


@pytest.mark.parametrize(("sign", "is_refused"), [(1.0, False), (-1.0, True)])
def test_two_positions_that_exchange_left_and_right_are_refused(
    tmp_path: Path, sign: float, is_refused: bool
):
    matrix = (sign, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path = nifti(
        tmp_path / "a.nii", grey_voxels(), codes=("<2h", 252, (1, 1)),
        quaternion=("<6f", 256, (0.0, 0, 0, 0, 0, 0)), face=("<f", 76, (1.0,)),
        sform=("<12f", 280, matrix),
    )  # fmt: skip
    if is_refused:
        refused(path, "mirror images", GeometryError)
    else:
        read_volume(path)


def test_every_cut_of_a_file_is_read_whole_or_refused(tmp_path: Path):
    """No length of a file gives other voxels than the whole one."""
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, 500, (4, 5, 6)).astype(np.int16)
    image = SimpleITK.GetImageFromArray(voxels)
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        SimpleITK.WriteImage(image, str(tmp_path / name), name != "a.nii")
        whole = (tmp_path / name).read_bytes()
        for length in sorted(set(rng.integers(0, len(whole), 12).tolist())):
            (tmp_path / name).write_bytes(whole[:length])
            try:
                found = read_volume(tmp_path / name).array
            except MorseError as error:
                assert_one_sentence(error, name)
            else:
                assert np.array_equal(found, voxels), (name, length)


def test_each_of_these_ends_quickly(tmp_path: Path):
    """A header may be a megabyte of nothing."""
    makers: list[Callable[[], Path]] = [
        lambda: nrrd(tmp_path, *["#" + "x" * 1000] * 2000),
        lambda: meta(tmp_path, "LIST\n" + "a.raw\n" * 10_000),
    ]
    for make in makers:
        with pytest.raises(MorseError):
            read_volume(make())
