"""Whole files of every format, and ways to spoil them."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1

from dicom_files import enhanced_data, put_jpeg, save, slice_pixels, write_series

__all__ = ["FORMATS", "MUTATIONS", "Mutation", "write_seed"]

SHAPE = (5, 6, 7)
PICTURE = (24, 32)
FORMATS = (
    "nii", "nii.gz", "nrrd", "mha", "mhd", "nhdr", "png", "tif", "jpg", "bmp", "dcm",
    "dcm series", "dcm jpeg", "dcm enhanced",
)  # fmt: skip
_PICTURES = ("png", "tif", "jpg", "bmp")


def write_seed(folder: Path, suffix: str, rng: np.random.Generator) -> Path:
    """A whole file of noise that reads well; its detached voxels, if any, lie beside it.

    Of a DICOM series it is one of the slices, and the folder is what reads well.
    """
    if suffix.startswith("dcm "):
        return _write_dicom(folder, suffix, rng)
    is_picture = suffix in _PICTURES
    shape = PICTURE if is_picture else (1, *PICTURE) if suffix == "dcm" else SHAPE
    kind = np.uint8 if is_picture else np.int16
    image = SimpleITK.GetImageFromArray(rng.integers(1, 250, shape).astype(kind))
    if not is_picture:
        image.SetSpacing((0.9, 1.1, 2.0))
        image.SetOrigin((-10.0, 5.0, 30.0))
    path = folder / f"seed.{suffix}"
    is_compressed = suffix in ("nii.gz", "nrrd", "mha") and bool(rng.integers(2))
    SimpleITK.WriteImage(image, str(path), is_compressed or suffix == "nii.gz")
    return path


def _write_dicom(folder: Path, suffix: str, rng: np.random.Generator) -> Path:
    if suffix == "dcm enhanced":
        return save(enhanced_data([0, 2, 4]), folder / "seed.dcm")
    is_packed = suffix == "dcm jpeg"

    def edit(data: Dataset, number: int) -> None:
        if is_packed:
            put_jpeg(data, slice_pixels(number), folder.parent)

    plain = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)[int(rng.integers(2))]
    syntax = JPEGLosslessSV1 if is_packed else plain
    files = write_series(folder, edit=edit, syntax=syntax)
    return files[int(rng.integers(len(files)))]


@dataclass(frozen=True)
class Mutation:
    """A way to spoil a file."""

    name: str
    apply: Callable[[bytes, np.random.Generator], bytes]
    keeps_voxels: bool
    """Whether a file that still reads must read as before: nothing in it was *changed*, only taken
    away or added."""


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _cut_end(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: len(data) - int(rng.integers(1, min(64, len(data))))]


def _append(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 4096)))


def _zero_tail(data: bytes, rng: np.random.Generator) -> bytes:
    keep = int(rng.integers(0, len(data)))
    return data[:keep] + bytes(len(data) - keep)


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        spoilt[int(rng.integers(len(spoilt)))] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _flip_header(data: bytes, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        spoilt[int(rng.integers(min(400, len(spoilt))))] = int(rng.integers(256))
    return bytes(spoilt)


def _large_numbers(data: bytes, rng: np.random.Generator) -> bytes:
    """Extreme values at an aligned place of the header."""
    spoilt = bytearray(data)
    value = [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", bytes(4)]
    place = 4 * int(rng.integers(min(100, max(1, len(spoilt) // 4))))
    spoilt[place : place + 4] = value[int(rng.integers(len(value)))]
    return bytes(spoilt)


def _digits(data: bytes, rng: np.random.Generator) -> bytes:
    """Another digit somewhere in a text header."""
    spoilt = bytearray(data)
    places = [n for n, byte in enumerate(spoilt[:600]) if 48 <= byte <= 57]
    if places:
        spoilt[places[int(rng.integers(len(places)))]] = b"0123456789-e%"[int(rng.integers(13))]
    return bytes(spoilt)


def _double(data: bytes, rng: np.random.Generator) -> bytes:
    return data + data


def _pack_again(data: bytes, rng: np.random.Generator) -> bytes:
    return gzip.compress(data)


MUTATIONS = (
    Mutation("cut", _cut, True),
    Mutation("cut end", _cut_end, True),
    Mutation("append", _append, True),
    Mutation("double", _double, True),
    Mutation("zero tail", _zero_tail, False),
    Mutation("flip", _flip, False),
    Mutation("flip header", _flip_header, False),
    Mutation("large numbers", _large_numbers, False),
    Mutation("digits", _digits, False),
    Mutation("pack again", _pack_again, False),
)
