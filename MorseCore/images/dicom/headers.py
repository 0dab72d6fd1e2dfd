"""What a file is by its header: a DICOM image, another DICOM object, or no DICOM at all."""

import logging
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from MorseCore.errors import ImageError
from MorseCore.images.dicom.elements import PIXELS, TAGS, Elements
from MorseCore.system.files import printable

__all__ = [
    "DicomFile",
    "NoPydicom",
    "PixelPlace",
    "begins_like_dicom",
    "read_header",
    "syntax_name",
]

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # the transfer syntax whose whole data set is compressed
_EXPLICIT = b"1.2.840.10008.1.2.1\0\0\0"  # the same, unpacked
_MAGIC, _MAGIC_AT, _META_AT = b"DICM", 128, 144
_UNDEFINED = 0xFFFFFFFF  # length of what is divided into fragments
_LONG = frozenset({"OB", "OD", "OF", "OL", "OW", "UN"})  # their lengths have four bytes
_LARGEST_INFLATED = 1 << 31  # bytes; a data set that unpacks to more is a trap
_FLOATS = {0x7FE00008: 32, 0x7FE00009: 64}
_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")


class NoPydicom(ImageError):
    """This Python lacks pydicom, so that no file can be read."""


@dataclass(frozen=True)
class PixelPlace:
    """Where in a file its pixels are."""

    tag: int
    """Of :data:`PIXELS`."""
    start: int
    """Bytes from the file's start, or from the start of the inflated data set."""
    length: int | None
    """Bytes; None if they are divided into fragments, as compressed pixels are."""
    there: int
    """Bytes from the start of the pixels to the end of the file."""


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A DICOM file, of which only the header was read."""

    path: Path
    elements: Elements
    kind: str
    """Name of its class: CT Image Storage, RT Structure Set Storage …"""
    syntax: str
    """UID of the transfer syntax; empty if the file does not say."""
    pixels: PixelPlace | None
    is_deflated: bool = False
    """Whether the whole data set is compressed."""

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, unpacked if it is deflated.

        :raises ImageError: if it cannot be read.
        """
        try:
            with self.path.open("rb") as stream:
                plain = _plain(stream, self.name) if self.is_deflated else None
                yield stream if plain is None else BytesIO(plain)
        except OSError as error:
            raise _unreadable(self.name, error) from error

    @property
    def name(self) -> str:
        """The file's, for messages."""
        return self.elements.name

    @property
    def is_image(self) -> bool:
        """Whether it holds a picture, not a report, a plan, contours …"""
        return "Image Storage" in self.kind or (
            not self.is_registered and self.elements.has("Rows")
        )

    @property
    def is_directory(self) -> bool:
        """Whether it is a table of contents, as disks for patients have."""
        return "Directory" in self.kind

    @property
    def is_registered(self) -> bool:
        """Whether its class is one that DICOM defines."""
        return "Storage" in self.kind

    @property
    def series(self) -> str:
        """UID of the series."""
        return self.elements.text("SeriesInstanceUID")

    @property
    def float_bits(self) -> int:
        """Bits of a pixel that is stored as a real number; 0 for whole ones."""
        return 0 if self.pixels is None else _FLOATS.get(self.pixels.tag, 0)

    @property
    def is_little_endian(self) -> bool:
        """Whether numbers begin with their lowest byte, as nearly always."""
        return self.elements.is_little_endian()

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.elements.whole("Rows") or 0, self.elements.whole("Columns") or 0

    @property
    def frames(self) -> int:
        """How many slices it holds.

        :raises ImageError: if it does not say so in a whole number.
        """
        count = self.elements.number("NumberOfFrames")
        if count is None:
            return 1
        if count < 1 or count != int(count):
            raise ImageError(
                f"{self.name} says that it has {count:g} frames; at least one is expected."
            )
        return int(count)


def begins_like_dicom(head: bytes) -> bool:
    """Whether a file's first 132 bytes are those of a DICOM file, with or without preamble."""
    if head[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
        return True
    if len(head) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", head)
        if group in (0x0002, 0x0008) and element <= 0x0060:
            return True
    return False


def read_header(path: Path) -> DicomFile | None:
    """Read a file up to its pixels; None if it is no DICOM file.

    :raises ImageError: if it is one and damaged, or this Python lacks pydicom.
    """
    name = printable(path.name)
    try:
        with path.open("rb") as stream:
            head = stream.read(_MAGIC_AT + 4)
            if not begins_like_dicom(head):
                return None
            has_magic = head[_MAGIC_AT:] == _MAGIC
            stream.seek(0)
            return _parsed(path, name, stream, has_magic)
    except OSError as error:
        raise _unreadable(name, error) from error


def _parsed(path: Path, name: str, stream: BinaryIO, has_magic: bool) -> DicomFile | None:
    read_partial, name_of = _pydicom(name)
    try:
        plain = _plain(stream, name) if has_magic else None
        source = stream if plain is None else BytesIO(plain)
        data, pixels = _read_to_pixels(read_partial, source)
        promised = str(data.file_meta.get("MediaStorageSOPClassUID", ""))
        syntax = str(data.file_meta.get("TransferSyntaxUID", "") or "")
    except (OSError, ImageError):
        raise
    except Exception as error:  # garbage fails in many ways
        if not has_magic:
            return None
        raise _damaged(name, "its header cannot be read") from error
    elements = Elements(data, name)
    uid = elements.text("SOPClassUID")
    file = DicomFile(path, elements, name_of(promised or uid), syntax, pixels, plain is not None)
    if file.is_image:
        _check_image(file)
        return file
    if file.is_directory:
        return file
    if not uid and not has_magic:
        return None
    if not uid or (promised and promised != uid):
        raise _damaged(name, "its header ends before it says what the file is")
    return file


def syntax_name(uid: str) -> str:
    """What a transfer syntax is called."""
    from pydicom.uid import UID

    return str(UID(uid).name)


def _read_to_pixels(read_partial: Any, stream: BinaryIO) -> tuple[Any, PixelPlace | None]:
    """The data set before its pixels, and where these are."""
    end = stream.seek(0, 2)
    stream.seek(0)
    found: list[PixelPlace] = []

    def is_at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag not in PIXELS:
            return False
        if vr is not None and vr not in _LONG:
            raise ValueError(f"pixels of type {vr}")
        start = stream.tell()
        size = None if length == _UNDEFINED else length
        found.append(PixelPlace(int(tag), start, size, end - start))
        return True

    data = read_partial(stream, is_at_pixels, force=True, specific_tags=[*TAGS.values()])
    return data, found[0] if found else None


def _check_image(file: DicomFile) -> None:
    """Refuse an image whose header stops half-way."""
    lacking = [keyword for keyword in _NEEDED if file.elements.whole(keyword) is None]
    if file.pixels is not None and file.pixels.tag != 0x7FE00010:
        lacking = [keyword for keyword in lacking if keyword in ("Rows", "Columns")]
    if file.pixels is None:
        raise ImageError(
            f"{file.name} is incomplete: it ends before its pixels begin; copy it again."
        )
    if lacking:
        raise _damaged(file.name, f"its header lacks {lacking[0]}")
    if file.syntax.encode() == _DEFLATED and not file.is_deflated:
        raise _damaged(file.name, "it is deflated and does not say from where on")


def _plain(stream: BinaryIO, name: str) -> bytes | None:
    """A deflated file with its data set unpacked; None if it is of another transfer syntax.

    The stream is read from its start, and is left there.

    :raises ImageError: if it cannot be unpacked, or holds far too much.
    """
    stream.seek(0)
    head = stream.read(_META_AT)
    if head[_MAGIC_AT : _MAGIC_AT + 12] != _MAGIC + b"\x02\0\0\0UL\x04\0":
        stream.seek(0)
        return None  # it does not say how long its first part is
    (length,) = struct.unpack_from("<I", head, _MAGIC_AT + 12)
    meta = head + stream.read(min(length, 1 << 16))
    if b"UI\x16\0" + _DEFLATED not in meta:
        stream.seek(0)
        return None
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(stream.read(), _LARGEST_INFLATED)
    except zlib.error as error:
        raise _damaged(name, "its compressed data cannot be unpacked") from error
    if unpacker.unconsumed_tail:
        raise ImageError(
            f"{name} unpacks to more than {_LARGEST_INFLATED} bytes; it is no image of a scanner."
        )
    if not unpacker.eof:
        raise ImageError(
            f"{name} is incomplete: its compressed data ends too early; copy it again."
        )
    stream.seek(0)
    return meta.replace(_DEFLATED, _EXPLICIT) + data


def _unreadable(name: str, error: OSError) -> ImageError:
    return ImageError(f"{name} cannot be read: {error.strerror or 'unknown reason'}.")


def _damaged(name: str, why: str) -> ImageError:
    return ImageError(f"{name} is a damaged DICOM file: {why}; copy it again.")


def _pydicom(name: str) -> tuple[Any, Any]:
    """What reads headers, and what names classes.

    :raises ImageError: if this Python lacks pydicom.
    """
    try:
        from pydicom.filereader import read_partial
        from pydicom.uid import UID
    except ModuleNotFoundError as error:
        raise NoPydicom(
            f"{name} is a DICOM file, and this Python ({sys.executable}) lacks the package "
            f"'{error.name}' for it; use the one of the environment in which MorseCore was "
            "installed, or install it there."
        ) from error
    return read_partial, lambda uid: str(UID(uid).name)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom warns of oddities on the terminal; what matters of them is said in our words.

    To be entered once around all that reads headers, as their values are converted late.
    """
    log = logging.getLogger("pydicom")
    before = log.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.disabled = True
        try:
            yield
        finally:
            log.disabled = before
