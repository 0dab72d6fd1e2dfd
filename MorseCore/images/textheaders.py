"""NRRD and MetaImage: headers of text, whose voxels may lie in the same file or in others."""

import bz2
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.filechecks import check_is_regular, check_size, unpacked_length

__all__ = ["check_text_header", "read_nrrd_kinds", "voxel_files"]

_LARGEST = 1 << 20  # bytes; a header of thousands of slices' names has less
_NRRD_BLANK = re.compile(rb"\r?\n\r?\n")
_META_LAST = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*([^\r\n]*)\r?(?:\n|\Z)", re.MULTILINE)
_NRRD_BYTES = {
    "char": 1, "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1,
    "uint8": 1, "uint8_t": 1, "short": 2, "short int": 2, "signed short": 2, "int16": 2,
    "int16_t": 2, "ushort": 2, "unsigned short": 2, "uint16": 2, "uint16_t": 2, "int": 4,
    "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4,
    "uint32_t": 4, "longlong": 8, "long long": 8, "int64": 8, "int64_t": 8, "ulonglong": 8,
    "unsigned long long": 8, "uint64": 8, "uint64_t": 8, "float": 4, "double": 8,
}  # fmt: skip
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip


@dataclass(frozen=True)
class _Promise:
    """What a header says of its voxels."""

    bytes: int | None
    """Of all voxels together, unpacked; None if that cannot be told."""
    packing: str
    """``raw``, ``gzip``, ``bzip2`` or ``text``."""
    files: tuple[str, ...]
    """Names of other files with the voxels, in order; none if they are in the header's own."""
    start: int
    """Where in the header's own file the voxels begin."""
    skip: int = 0
    """Bytes before the voxels in each of the other files; -1: they are the last ones."""


def voxel_files(path: Path) -> list[Path]:
    """The files beside a header that hold its voxels; none if they are in its own file.

    :raises ImageError: as :func:`check_text_header` for such files.
    :raises OSError: if the header cannot be read.
    """
    promise = _promise_of(path)
    return [] if promise is None else [_beside(path, name) for name in promise.files]


def check_text_header(path: Path) -> None:
    """Refuse what ITK would believe: missing voxels, names that are patterns, spacings of zero.

    Files that begin otherwise, and fields that are missing, are left to ITK, which says why.

    :raises ImageError: if voxels are missing or damaged, or lie where they must not.
    :raises GeometryError: for a spacing that is no positive number.
    """
    promise = _promise_of(path)
    if promise is not None:
        _check(path, promise)


def _promise_of(path: Path) -> _Promise | None:
    with path.open("rb") as stream:
        raw = stream.read(_LARGEST)
    if raw[:4] == b"NRRD":
        return _read_nrrd(path, raw)
    if _META_LAST.search(raw) and path.name.lower().endswith((".mha", ".mhd")):
        return _read_meta(path, raw)
    return None


def read_nrrd_kinds(path: Path) -> tuple[str, ...]:
    """What an NRRD file's axes are: ``domain``, ``space``, ``list`` …; none in other files."""
    with path.open("rb") as stream:
        raw = stream.read(_LARGEST)
    if raw[:4] != b"NRRD":
        return ()
    blank = _NRRD_BLANK.search(raw)
    text = (raw[: blank.start()] if blank else raw).decode("latin-1")
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip().lower() == "kinds":
            return tuple(value.lower().split())
    return ()


def _check(path: Path, promise: _Promise) -> None:
    if not promise.files:
        _check_packed(path, promise, offset=promise.start)
        return
    parts = [_beside(path, name) for name in promise.files]
    if promise.packing != "raw":
        for part in parts:
            _check_packed(part, promise, offset=max(0, promise.skip), count=len(parts))
        return
    if promise.bytes is not None:
        found = sum(max(0, part.stat().st_size - max(0, promise.skip)) for part in parts)
        name = parts[0].name if len(parts) == 1 else f"{path.name} with its {len(parts)} files"
        check_size(name, found=found, expected=promise.bytes)


def _check_packed(path: Path, promise: _Promise, *, offset: int, count: int = 1) -> None:
    """The voxels of one file are whole."""
    expected = None if promise.bytes is None else promise.bytes // count
    if promise.packing == "gzip":
        found = unpacked_length(path, offset=offset, expected=expected)
    elif promise.packing == "bzip2":
        found = _bzip2_length(path, offset, expected)
    elif promise.packing == "raw":
        found = path.stat().st_size - offset
    else:
        return  # text, whose length says nothing
    if expected is not None:
        check_size(path.name, found=found, expected=expected)


def _bzip2_length(path: Path, offset: int, expected: int | None) -> int:
    length, unpacker = 0, bz2.BZ2Decompressor()
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while (block := stream.read(1 << 16)) and not unpacker.eof:
                length += len(unpacker.decompress(block))
                if expected is not None and length > 2 * expected + (1 << 26):
                    break
    except (OSError, EOFError) as error:
        raise ImageError(
            f"{path.name} is damaged: its compressed data cannot be unpacked; copy it again."
        ) from error
    return length


def _beside(header: Path, name: str) -> Path:
    """A file that a header names: a regular one in the header's own folder.

    :raises ImageError: if it lies elsewhere, is a pattern, or is not there.
    """
    if "%" in name:
        raise ImageError(
            f"{header.name} names its voxels by a pattern ('{name}'), which is not read; convert "
            "it to one file."
        )
    plain = PureWindowsPath(name)  # takes / and \ for separators
    if plain.anchor or ".." in plain.parts or len(plain.parts) != 1:
        raise ImageError(
            f"{header.name} names voxels outside of its own folder ('{name}'); such a file is "
            "not trusted."
        )
    path = header.with_name(name)
    if not path.exists():
        raise ImageError(f"{header.name} lacks the file with its voxels, '{name}'.")
    check_is_regular(path)
    if path.is_dir():
        raise ImageError(f"{header.name} names a folder for its voxels, '{name}'.")
    return path


def _read_nrrd(path: Path, raw: bytes) -> _Promise | None:
    blank = _NRRD_BLANK.search(raw)
    text = raw[: blank.start()] if blank else raw
    lines = text.decode("latin-1").splitlines()
    fields: dict[str, str] = {}
    for n, line in enumerate(lines):
        key, colon, value = line.partition(":")
        if not colon or line.startswith("#") or value.startswith("="):
            continue
        key = key.strip().lower()
        if key in ("data file", "datafile"):
            files = _nrrd_files(path, value.strip(), lines[n + 1 :])
            return _nrrd_promise(path, fields, files, start=0)
        fields[key] = value.strip()
    if blank is None:
        return None  # ITK says that the header has no end
    return _nrrd_promise(path, fields, (), start=blank.end())


def _nrrd_files(path: Path, value: str, rest: Sequence[str]) -> tuple[str, ...]:
    """``data file: NAME``, ``LIST`` and names in the lines below, or a pattern."""
    if value.split(" ")[0] == "LIST":
        names = tuple(line.strip() for line in rest if line.strip())
        if not names:
            raise ImageError(f"{path.name} lists no file with its voxels.")
        return names
    return (value,)


def _nrrd_promise(
    path: Path, fields: dict[str, str], files: tuple[str, ...], *, start: int
) -> _Promise | None:
    _check_spacings(path, fields.get("spacings", ""))
    encoding = fields.get("encoding", "raw").lower()
    packing = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
    count = _product(fields.get("sizes", ""))
    width = _NRRD_BYTES.get(fields.get("type", "").lower())
    if fields.get("line skip", fields.get("lineskip", "0")) not in ("", "0"):
        return None
    skip = _integer(fields.get("byte skip", fields.get("byteskip", "0")))
    if not files and skip > 0:
        start += skip
    promised = None if count is None or width is None else count * width
    return _Promise(promised, packing.get(encoding, "text"), files, start, skip)


def _read_meta(path: Path, raw: bytes) -> _Promise | None:
    last = _META_LAST.search(raw)
    assert last is not None
    fields: dict[str, str] = {}
    for line in raw[: last.start()].decode("latin-1").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key.strip().lower()] = value.strip()
    _check_spacings(path, fields.get("elementspacing", ""))
    place = last.group(1).decode("latin-1").strip()
    files: tuple[str, ...] = ()
    if place.upper().split(" ")[0] == "LIST":
        rest = raw[last.end() :].decode("latin-1").splitlines()
        files = tuple(line.strip() for line in rest if line.strip())
        if not files:
            raise ImageError(f"{path.name} lists no file with its voxels.")
    elif place.upper() != "LOCAL":
        files = (place,)
    is_packed = fields.get("compresseddata", "false").lower() == "true"
    is_text = fields.get("binarydata", "true").lower() == "false"
    packing = "gzip" if is_packed else "text" if is_text else "raw"
    count = _product(fields.get("dimsize", ""))
    channels = _integer(fields.get("elementnumberofchannels", "1"))
    width = _META_BYTES.get(fields.get("elementtype", "").upper())
    promised = None if count is None or width is None else count * width * max(1, channels)
    skip = _integer(fields.get("headersize", "0"))
    return _Promise(promised, packing, files, last.end(), skip)


def _product(text: str) -> int | None:
    """The number of voxels; None if the text is no list of positive whole numbers."""
    try:
        sizes = [int(word) for word in text.split()]
    except ValueError:
        return None
    return math.prod(sizes) if sizes and min(sizes) > 0 else None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _check_spacings(path: Path, line: str) -> None:
    """:raises GeometryError: if a voxel has no size. NRRD writes nan for an axis that has none."""
    try:
        values = tuple(float(word) for word in line.split())
    except ValueError:
        return  # not a list of numbers: ITK explains that itself
    if not all(value > 0 for value in values):
        found = " x ".join(f"{value:g}" for value in values)
        raise GeometryError(
            f"{path.name} has voxels of {found} mm; each size must be a positive number."
        )
