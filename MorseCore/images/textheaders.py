"""NRRD and MetaImage: headers of text, whose voxels may lie in the same file or in others."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.filechecks import (
    check_is_regular,
    check_size,
    is_gzip,
    note_surplus,
    unpacked_length,
)
from MorseCore.system.files import printable

__all__ = ["check_text_header", "read_nrrd_kinds", "voxel_files"]

_LARGEST = 1 << 20  # bytes; a header of thousands of slices' names has less
_NRRD_BLANK = re.compile(rb"\r?\n\r?\n")
_NRRD_VECTOR = re.compile(r"none|\(([^()]*)\)")
_MOST_AXES = 4
_LAST = "ElementDataFile"
_META_LAST = re.compile(
    rb"(?:\A|[\r\n])[ \t\v\f]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)(?:\r?\n|\r|\Z)"
)
_META_LINE = re.compile(r"[ \t\v\f]*([^=:]*)[=:](.*)")
_NRRD_BYTES = {
    "char": 1, "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1,
    "uint8": 1, "uint8_t": 1, "short": 2, "short int": 2, "signed short": 2,
    "signed short int": 2, "int16": 2, "int16_t": 2, "ushort": 2, "unsigned short": 2,
    "unsigned short int": 2, "uint16": 2, "uint16_t": 2, "int": 4, "signed int": 4, "int32": 4,
    "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4, "longlong": 8,
    "long long": 8, "long long int": 8, "signed long long": 8, "signed long long int": 8,
    "int64": 8, "int64_t": 8, "ulonglong": 8, "unsigned long long": 8,
    "unsigned long long int": 8, "uint64": 8, "uint64_t": 8, "float": 4, "double": 8,
}  # fmt: skip
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
_META_REALS = (
    "ElementSize", "ElementSpacing", "Offset", "Position", "Origin", "TransformMatrix", "Rotation",
    "Orientation", "CenterOfRotation",
)  # fmt: skip
_META_NEUTRAL = {
    "ElementToIntensityFunctionSlope": ("1",), "ElementToIntensityFunctionOffset": ("0",),
    "DistanceUnits": ("mm", "?"),
}  # fmt: skip
"""What ITK does not heed, and the values for which that does no harm."""


@dataclass(frozen=True)
class _Promise:
    """What a header says of its voxels."""

    bytes: int
    """Of all voxels together, unpacked."""
    packing: str
    """``raw``, ``gzip``, ``zlib`` (which may be gzip as well) or ``text``."""
    files: tuple[str, ...]
    """Names of other files with the voxels, in order; none if they are in the header's own."""
    start: int
    """Where in the header's own file the voxels begin."""
    skip: int = 0
    """Bytes before the voxels in each of the other files; -1: they are the last ones."""
    packed: int | None = None
    """Bytes of the packed voxels, where the header says how many."""


def voxel_files(path: Path) -> list[Path]:
    """The files beside a header that hold its voxels; none if they are in its own file.

    :raises ImageError: as :func:`check_text_header` for such files.
    :raises OSError: if the header cannot be read.
    """
    promise = _promise_of(path)
    return [] if promise is None else [_beside(path, name) for name in promise.files]


def check_text_header(path: Path) -> list[str]:
    """Refuse what ITK would believe: missing voxels, names that are patterns, half a number.

    Files that begin otherwise, and fields that are missing, are left to ITK, which says why.

    :return: sentences for the report.
    :raises ImageError: if voxels are missing or damaged, or lie where they must not, or the header
        says of them what is not read.
    :raises GeometryError: for a spacing that is no positive number.
    """
    promise = _promise_of(path)
    return [] if promise is None else _check(path, promise)


def _promise_of(path: Path) -> _Promise | None:
    with path.open("rb") as stream:
        raw = stream.read(_LARGEST)
    if raw[:4] == b"NRRD":
        return _read_nrrd(path, raw)
    if path.name.lower().endswith((".mha", ".mhd")):
        return _read_meta(path, raw)
    return None


def read_nrrd_kinds(path: Path) -> tuple[str, ...]:
    """What an NRRD file's axes are: ``domain``, ``space``, ``list`` …; none in other files."""
    with path.open("rb") as stream:
        raw = stream.read(_LARGEST)
    if raw[:4] != b"NRRD":
        return ()
    blank = _NRRD_BLANK.search(raw)
    for line in _lines(raw[: blank.start()] if blank else raw):
        key, colon, value = line.partition(":")
        if colon and key.strip().lower() == "kinds":
            return tuple(value.lower().split())
    return ()


def _lines(raw: bytes) -> list[str]:
    """The lines as ITK divides them; bytes that are no UTF-8 name the same files as before."""
    return [line.removesuffix("\r") for line in raw.decode("utf-8", "surrogateescape").split("\n")]


def _check(path: Path, promise: _Promise) -> list[str]:
    if not promise.files:
        return _check_voxels(path, promise, offset=promise.start)
    parts, notes = [_beside(path, name) for name in promise.files], list[str]()
    for part in parts:
        notes += _check_voxels(part, promise, offset=max(0, promise.skip), count=len(parts))
    return notes


def _check_voxels(path: Path, promise: _Promise, *, offset: int, count: int = 1) -> list[str]:
    """The voxels of one file are whole."""
    name, expected = printable(path.name), promise.bytes // count
    found = max(0, path.stat().st_size - offset)
    if promise.packed is not None:
        check_size(name, found=found, expected=promise.packed)
    if promise.packing == "text":
        return []  # its length says nothing, and ITK counts
    if promise.packing != "raw":
        if promise.packing == "gzip" and not is_gzip(path, offset=offset):
            raise ImageError(
                f"{name} is damaged: its voxels should be packed with gzip and are not; copy it "
                "again."
            )
        found = unpacked_length(path, offset=offset, expected=expected, most=promise.packed)
    check_size(name, found=found, expected=expected)
    is_own = not promise.files or promise.skip < 0
    return [] if is_own else note_surplus(name, found=found, expected=expected)


def _beside(header: Path, name: str) -> Path:
    """A file that a header names: a regular one in the header's own folder.

    :raises ImageError: if it lies elsewhere, is a pattern, or is not there.
    """
    shown = printable(name)
    if not name:
        raise ImageError(f"{header.name} does not name the file with its voxels.")
    if "%" in name:
        raise ImageError(
            f"{header.name} names its voxels by a pattern ('{shown}'), which is not read; convert "
            "it to one file."
        )
    plain = PureWindowsPath(name)  # takes / and \ for separators
    if plain.anchor or ".." in plain.parts or len(plain.parts) != 1:
        raise ImageError(
            f"{header.name} names voxels outside of its own folder ('{shown}'); such a file is "
            "not trusted."
        )
    path = header.with_name(name)
    if "\0" in name or not path.exists():
        raise ImageError(f"{header.name} lacks the file with its voxels, '{shown}'.")
    check_is_regular(path)
    if path.is_dir():
        raise ImageError(f"{header.name} names a folder for its voxels, '{shown}'.")
    return path


def _read_nrrd(path: Path, raw: bytes) -> _Promise | None:
    blank = _NRRD_BLANK.search(raw)
    if blank is None and len(raw) == _LARGEST:
        raise _too_long(path)
    lines = _lines(raw[: blank.start()] if blank else raw)
    fields: dict[str, str] = {}
    for n, line in enumerate(lines):
        key, colon, value = line.partition(":")
        if not colon or line.startswith("#") or value.startswith("="):
            continue
        key = key.strip().lower()
        if key in ("data file", "datafile"):
            files = _listed(path, value.strip(), lines[n + 1 :])
            return _nrrd_promise(path, fields, files or (value.strip(),), start=0)
        fields[key] = value.strip()
    if blank is None:
        return None  # ITK says that the header has no end
    return _nrrd_promise(path, fields, (), start=blank.end())


def _listed(path: Path, value: str, rest: Sequence[str]) -> tuple[str, ...]:
    """The names in the lines below ``LIST``; none if there is another word."""
    if value.split(" ")[0] != "LIST":
        return ()
    names = tuple(line.strip() for line in rest if line.strip())
    if not names:
        raise ImageError(f"{path.name} lists no file with its voxels.")
    if len(set(names)) < len(names):
        raise ImageError(f"{path.name} lists a file with voxels twice; correct its header.")
    return names


def _nrrd_promise(
    path: Path, fields: Mapping[str, str], files: tuple[str, ...], *, start: int
) -> _Promise | None:
    _check_spacings(path, "spacings", fields.get("spacings", ""))
    _check_directions(path, fields.get("space directions", ""))
    sizes = _wholes(path, "sizes", fields.get("sizes", ""), least=1)
    lines, skip = (
        sum(_wholes(path, key, fields.get(key, fields.get(key.replace(" ", ""), "")), least=least))
        for key, least in (("line skip", 0), ("byte skip", -1))
    )
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "raw").lower()
    if not sizes or not kind or lines:
        return None  # ITK says what is missing, and counts what follows lines
    if kind not in _NRRD_BYTES:
        raise _unread(path, "voxels of the type", kind)
    if encoding in ("bz2", "bzip2"):
        raise _unread(path, "voxels packed with", encoding)
    packing = {"raw": "raw", "gz": "gzip", "gzip": "gzip"}.get(encoding, "text")
    promised = math.prod(sizes) * _NRRD_BYTES[kind]
    return _Promise(promised, packing, files, start + (0 if files else max(0, skip)), skip)


def _check_directions(path: Path, text: str) -> None:
    """Where three axes or more lie, three of them lie in the patient.

    :raises GeometryError: if an axis has no direction, or one that is no list of numbers.
    """
    found = [match.group(1) for match in _NRRD_VECTOR.finditer(text)]
    vectors = [
        _reals(path, "space directions", vector.replace(",", " "))
        for vector in found
        if vector is not None
    ]
    if len(found) > 2 and vectors and len(vectors) < len(vectors[0]):
        raise GeometryError(
            f"{path.name} gives directions for {len(vectors)} of its axes; a volume needs "
            f"{len(vectors[0])}."
        )


def _read_meta(path: Path, raw: bytes) -> _Promise | None:
    last = _META_LAST.search(raw)
    if last is None:
        if len(raw) == _LARGEST:
            raise _too_long(path)
        raise ImageError(
            f"{path.name} is no MetaImage file, or its header is damaged: it has no line '{_LAST}'."
        )
    fields: dict[str, str] = {}
    for line in _lines(raw[: last.start()].replace(b"\r", b"\n")):
        if found := _META_LINE.match(line):
            fields[found.group(1).strip().lower()] = found.group(2).strip()
    values = _MetaFields(path, fields)
    values.check()
    place = last.group(1).decode("utf-8", "surrogateescape").strip()
    files: tuple[str, ...] = ()
    if place not in ("LOCAL", "Local", "local"):
        files = _listed(path, place, _lines(raw[last.end() :])) or (place,)
    return values.promise(files, place, start=last.end())


@dataclass(frozen=True)
class _MetaFields:
    """The fields of a MetaImage header, by keys in small letters."""

    path: Path
    fields: Mapping[str, str]

    def text(self, key: str) -> str:
        return self.fields.get(key.lower(), "")

    def whole(self, key: str, *, least: int) -> list[int]:
        return _wholes(self.path, key, self.text(key), least=least)

    def check(self) -> None:
        """Refuse what ITK would read as another number, or would not heed."""
        _check_spacings(self.path, "ElementSpacing", self.text("ElementSpacing"))
        for key in _META_REALS:
            if not all(map(math.isfinite, _reals(self.path, key, self.text(key)))):
                raise _no_numbers(self.path, key, self.text(key), "finite numbers")
        axes = self.whole("NDims", least=1)
        if len(axes) > 1 or (axes and axes[0] > _MOST_AXES):
            raise _unread(self.path, "NDims", self.text("NDims"))
        sizes = self.whole("DimSize", least=1)
        if axes and sizes and len(sizes) != axes[0]:
            raise ImageError(
                f"{self.path.name} contradicts itself: it has {axes[0]} axes (NDims) and "
                f"{len(sizes)} sizes (DimSize)."
            )
        kind = self.text("ElementType").upper()
        if kind and kind not in _META_BYTES:
            raise _unread(self.path, "voxels of the type", kind)
        for key, values in _META_NEUTRAL.items():
            if self.text(key) not in ("", *values):
                raise _unread(self.path, key, self.text(key))

    def promise(self, files: tuple[str, ...], place: str, *, start: int) -> _Promise | None:
        """What the fields say of the voxels; None if ITK says what is missing."""
        sizes, kind = self.whole("DimSize", least=1), self.text("ElementType").upper()
        channels = self.whole("ElementNumberOfChannels", least=1) or [1]
        skip = (self.whole("HeaderSize", least=-1) or [0])[0]
        packed = self.whole("CompressedDataSize", least=1)
        if not sizes or not kind:
            return None
        is_packed = self.text("CompressedData").lower() in ("true", "1")
        is_text = self.text("BinaryData").lower() == "false"
        if place.startswith("LIST"):
            self._check_list(files, place, sizes)
        if not files and skip > 0:
            raise _unread(self.path, "HeaderSize", str(skip))
        if is_packed and not files and not packed:
            raise ImageError(
                f"{self.path.name} does not say how many bytes its packed voxels have "
                "(CompressedDataSize); save it again with the program that made it."
            )
        return _Promise(
            math.prod(sizes) * _META_BYTES[kind] * channels[0],
            "zlib" if is_packed else "text" if is_text else "raw",
            files, start, skip, packed[0] if is_packed and packed else None,
        )  # fmt: skip

    def _check_list(self, files: Sequence[str], place: str, sizes: Sequence[int]) -> None:
        """ITK takes one slice out of each file, whatever else is in it."""
        if place.split()[1:] not in ([], [str(len(sizes) - 1)]) or len(files) != sizes[-1]:
            raise ImageError(
                f"{self.path.name} lists {len(files)} files for its {sizes[-1]} slices ('{place}');"
                " one each is expected."
            )


def _reals(path: Path, key: str, text: str) -> list[float]:
    """The numbers of a line; ITK stops in silence at what is none, as at the comma in ``0,5``.

    :raises ImageError: if there is something else.
    """
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise _no_numbers(path, key, text, "numbers") from None


def _wholes(path: Path, key: str, text: str, *, least: int) -> list[int]:
    """The same of whole numbers, none of which is smaller than ``least``."""
    try:
        values = [int(word) for word in text.split()]
    except ValueError:
        values = [least - 1]
    if not all(value >= least for value in values):
        raise _no_numbers(path, key, text, f"whole numbers from {least} on")
    return values


def _check_spacings(path: Path, key: str, text: str) -> None:
    """:raises GeometryError: if a voxel has no size."""
    values = _reals(path, key, text)
    if not all(value > 0 for value in values):
        found = " x ".join(f"{value:g}" for value in values)
        raise GeometryError(
            f"{path.name} has voxels of {found} mm; each size must be a positive number."
        )


def _no_numbers(path: Path, key: str, text: str, wanted: str) -> ImageError:
    return ImageError(
        f"{path.name} says '{printable(text[:60])}' for its {key}; {wanted} are expected."
    )


def _too_long(path: Path) -> ImageError:
    return ImageError(
        f"{path.name} has a header of more than {_LARGEST:,} bytes; save it without comments."
    )


def _unread(path: Path, what: str, value: str) -> ImageError:
    return ImageError(
        f"{path.name} has {what} {printable(value[:60])}, which is not read; convert it with the "
        "program that made it."
    )
