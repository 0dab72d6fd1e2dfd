"""What image files say of themselves; ITK repairs some headers, and fills gaps, in silence."""

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MorseCore.errors import GeometryError, ImageError

__all__ = [
    "NiftiHeader",
    "check_headers",
    "is_nifti",
    "read_missing_voxels",
    "read_nifti_header",
]

_FLOATS = (16, 64)  # NIfTI's codes for float32 and float64
_BLOCK = 1 << 16  # bytes; empty images unpack to a thousand times their size
_TEXT_HEADER = 1 << 16
_SPACING_LINE = re.compile(
    rb"^(?:spacings|ElementSpacing)\s*[:=]\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE
)
_COMPRESSED = re.compile(
    rb"^(?:encoding:\s*gz(?:ip)?|CompressedData\s*=\s*True)\s*$", re.MULTILINE | re.IGNORECASE
)
_DATA_START = {
    b"NRRD": re.compile(rb"\r?\n\r?\n"),
    b"Obje": re.compile(rb"ElementDataFile\s*=\s*LOCAL\r?\n"),
}


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI-1 header that decide whether the file can be believed."""

    size: tuple[int, ...]
    """Voxels along each axis, i first."""
    spacing: tuple[float, ...]
    """Voxel size along i, j, k in the file's unit."""
    data_end: int
    """Bytes from the (unpacked) file's start to the voxels' end; 0 if these are elsewhere."""
    sform: np.ndarray | None
    """3x4 matrix from indices to RAS, if the file has one."""
    floats: np.dtype[np.floating] | None
    """Type of the voxels as stored, if they are real numbers that may be NaN or infinite."""


def is_nifti(path: Path) -> bool:
    """Whether the name is one of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_headers(path: Path) -> None:
    """Refuse what ITK would accept in silence: half a file, and a spacing that is none.

    Reading NIfTI, ITK fills the rest of a truncated file with zeros and takes 1 mm for a spacing of
    zero; damage within compressed NRRD and MetaImage data passes as well. So the whole compressed
    stream is unpacked once here and its check sum compared.

    :raises ImageError: for a damaged file.
    :raises GeometryError: for a spacing or position that is not a proper number.
    """
    if is_nifti(path):
        header = read_nifti_header(path)
        # Axes of one voxel are often left at zero.
        wrong = [
            s for s, n in zip(header.spacing, header.size, strict=False) if n > 1 and not s > 0
        ]
        if wrong:
            raise _spacing_error(path, header.spacing)
        if header.sform is not None and not np.isfinite(header.sform).all():
            raise GeometryError(
                f"{path.name} has a position matrix (sform) with values that are not numbers."
            )
        _check_length(path, header.data_end)
        return
    with path.open("rb") as stream:
        text = stream.read(_TEXT_HEADER)
    start = _DATA_START.get(text[:4])
    if start is None:
        return
    end = start.search(text)
    for line in _SPACING_LINE.findall(text[: end.start()] if end else text):
        _check_text_spacing(path, line.decode("ascii", "replace"))
    if end is not None and _COMPRESSED.search(text[: end.start()]):
        _check_stream(path, end.end())


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read a header. :raises ImageError: if the file does not begin with one."""
    try:
        with gzip.open(path, "rb") if _is_gzip(path) else path.open("rb") as stream:
            raw = stream.read(348)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path) from error
    for order in "<>":
        if raw[:4] == struct.pack(f"{order}i", 348) and len(raw) == 348:
            return _parse(raw, order)
        if raw[:4] == struct.pack(f"{order}i", 540):
            raise ImageError(f"{path.name} is of the second NIfTI version; save it as NIfTI-1.")
    raise ImageError(f"{path.name} is not a NIfTI image, whatever its name says.")


def _parse(raw: bytes, order: str) -> NiftiHeader:
    """The fields of a NIfTI-1 header in a byte order ('<' or '>')."""
    axes, *size = struct.unpack_from(f"{order}8h", raw, 40)
    axes = min(max(axes, 0), 7)
    kind, bits = struct.unpack_from(f"{order}2h", raw, 70)
    spacing = struct.unpack_from(f"{order}3f", raw, 80)
    (offset,) = struct.unpack_from(f"{order}f", raw, 108)
    (code,) = struct.unpack_from(f"{order}h", raw, 254)
    sform = np.frombuffer(raw, f"{order}f4", 12, 280).reshape(3, 4).astype(np.float64)
    inline = raw[344:347] == b"n+1" and offset > 0
    voxels = math.prod(max(n, 1) for n in size[:axes])
    return NiftiHeader(
        tuple(size[:axes]),
        tuple(spacing[: min(axes, 3)]),
        int(offset) + voxels * bits // 8 if inline else 0,
        sform if code > 0 else None,
        np.dtype(f"{order}f{bits // 8}") if kind in _FLOATS else None,
    )


def read_missing_voxels(path: Path) -> np.ndarray | None:
    """Bool, flat, i fastest: the voxels of a NIfTI file that are NaN or infinite; None if none are.

    ITK reads such voxels as 0, which in a CT is water.
    """
    header = read_nifti_header(path)
    if header.floats is None or header.data_end == 0:
        return None
    count = math.prod(max(n, 1) for n in header.size)
    width, parts = header.floats.itemsize, []
    with gzip.open(path, "rb") if _is_gzip(path) else path.open("rb") as stream:
        stream.seek(header.data_end - count * width)
        for first in range(0, count, _BLOCK):
            block = stream.read(min(_BLOCK, count - first) * width)
            parts.append(~np.isfinite(np.frombuffer(block, header.floats)))
    return np.concatenate(parts) if any(part.any() for part in parts) else None


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _check_length(path: Path, expected: int) -> None:
    found = _check_stream(path, 0) if _is_gzip(path) else path.stat().st_size
    if found < expected:
        raise ImageError(
            f"{path.name} is incomplete: {expected} bytes are expected and {found} are there; "
            "copy it again."
        )


def _check_stream(path: Path, offset: int) -> int:
    """Unpack a gzip or zlib stream to its end and its check sum; returns the unpacked length."""
    length, unpacker = 0, zlib.decompressobj(wbits=47)
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while block := stream.read(_BLOCK):
                length += len(unpacker.decompress(block))
                # Some programs write a file as several gzip members, one after the other.
                while unpacker.eof and unpacker.unused_data[:2] == b"\x1f\x8b":
                    rest, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=47)
                    length += len(unpacker.decompress(rest))
    except zlib.error as error:
        raise _damaged(path) from error
    if not unpacker.eof:
        raise ImageError(
            f"{path.name} is incomplete: its compressed data ends too early; copy it again."
        )
    return length


def _check_text_spacing(path: Path, line: str) -> None:
    try:
        values = tuple(float(word) for word in line.split())
    except ValueError:
        return  # not a list of numbers: ITK explains that itself
    if not all(value > 0 for value in values):
        raise _spacing_error(path, values)


def _spacing_error(path: Path, values: tuple[float, ...]) -> GeometryError:
    found = " x ".join(f"{value:g}" for value in values)
    return GeometryError(
        f"{path.name} has voxels of {found} mm; each size must be a positive number."
    )


def _damaged(path: Path) -> ImageError:
    return ImageError(
        f"{path.name} is damaged: its compressed data cannot be unpacked; copy it again."
    )
