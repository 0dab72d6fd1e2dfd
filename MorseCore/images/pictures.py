"""Pictures: whether JPEG, BMP and TIFF files are whole, which their readers do not say."""

import re
import struct
from collections.abc import Callable
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from MorseCore.errors import ImageError
from MorseCore.images.filechecks import check_size

__all__ = ["check_picture"]

# JPEG's markers, but for those that stand among pixels.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")
_END_OF_IMAGE, _SIZES = 0xD9, frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_LARGE, _DENSEST = 1 << 26, 2000  # pixels, and pixels a byte; a trap for the memory has more
_WIDTH, _HEIGHT = 256, 257  # TIFF's tags
_STRIPS = {273: 279, 324: 325}  # TIFF's tags of where the pixels lie, and of how many bytes
# Bytes by TIFF's type of a field.
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_FORMATS = {3: "H", 4: "I", 16: "Q"}
_FARTHEST = 1 << 48  # bytes; seeking farther is an error of another kind
_MOST_PAGES, _MOST_FIELDS = 10_000, 4096


def check_picture(path: Path) -> None:
    """Refuse a picture whose pixels are not all there, or cannot be; other files are let through.

    :raises ImageError: if the file ends too early, or claims more than it can hold.
    """
    with path.open("rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return  # what stands before it may be a TIFF's beginning
    if head[:2] == b"\xff\xd8":
        _check_jpeg(path)
    elif head[:2] == b"BM":
        _check_bmp(path, head)
    elif head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) > 24:
        _check_claim(path, prod(struct.unpack_from(">II", head, 16)))
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(path, head)


def _check_jpeg(path: Path) -> None:
    """The last marker is there. A preview among the first parts has one of its own."""
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        place = 2
        while found := _MARKER.search(data, place):
            marker, place = found.group(1)[0], found.end()
            if marker == _END_OF_IMAGE:
                return
            if marker in _SIZES and place + 7 <= len(data):
                rows, columns = struct.unpack_from(">HH", data, place + 3)
                _check_claim(path, rows * columns)
            place += int.from_bytes(data[place : place + 2], "big")
    raise _incomplete(path)


def _check_bmp(path: Path, head: bytes) -> None:
    if len(head) < 54:
        raise _incomplete(path)
    start, header = struct.unpack_from("<I", head, 10)[0], struct.unpack_from("<I", head, 14)[0]
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    if compression != 0 or start < 14 + header:
        raise ImageError(
            f"{path.name} is packed or damaged, which is not read in BMP files; save it as PNG."
        )
    row = (abs(width) * bits + 31) // 32 * 4
    check_size(path.name, found=path.stat().st_size, expected=start + row * abs(height))


def _check_claim(path: Path, pixels: int) -> None:
    """Refuse a size for which memory would be taken, and for which the file is far too small."""
    size = path.stat().st_size
    if pixels > _LARGE and pixels > _DENSEST * size:
        raise ImageError(f"{path.name} claims {pixels:,} pixels in {size:,} bytes; it is no image.")


def _incomplete(path: Path) -> ImageError:
    return ImageError(f"{path.name} is incomplete: it ends too early; copy it again.")


def _check_tiff(path: Path, head: bytes) -> None:
    """Every strip or tile and every field of every page lies inside the file."""
    order = "<" if head[:2] == b"II" else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    size = path.stat().st_size
    (place,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", head, 8 if is_big else 4)
    end, seen = 0, set[int]()
    with path.open("rb") as stream:
        while place:
            if place in seen or len(seen) == _MOST_PAGES:  # ITK would turn round for ever
                raise ImageError(f"{path.name} is damaged: its pages have no end; copy it again.")
            seen.add(place)
            try:
                fields, last, place = _read_directory(stream, place, order, is_big)
            except struct.error:
                raise _incomplete(path) from None
            _check_claim(path, prod(fields.get(tag, (0,))[0] for tag in (_WIDTH, _HEIGHT)))
            for where, count in _STRIPS.items():
                pairs = zip(fields.get(where, ()), fields.get(count, ()), strict=False)
                end = max([end, last, *(a + b for a, b in pairs)])
    check_size(path.name, found=size, expected=end)


def _read_directory(
    stream: BinaryIO, place: int, order: str, is_big: bool
) -> tuple[dict[int, tuple[int, ...]], int, int]:
    """The fields of a page that say where its pixels are, the end of all its fields' values, and
    where the next page begins."""
    counts, entry, word = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    read = _reader(stream, order)
    (number,) = read(place, counts)
    place += struct.calcsize(f"{order}{counts}")
    if number > _MOST_FIELDS:
        raise struct.error("too many fields")
    wanted = {_WIDTH, _HEIGHT, *_STRIPS, *_STRIPS.values()}
    fields: dict[int, tuple[int, ...]] = {}
    end = place + number * entry
    for n in range(number):
        at = place + n * entry
        tag, kind = read(at, "HH")
        (count,) = read(at + 4, word)
        inline = at + 4 + struct.calcsize(f"{order}{word}")
        length = count * _WIDTHS.get(kind, 0)
        start = inline if length <= struct.calcsize(f"{order}{word}") else read(inline, word)[0]
        end = max(end, start + length)
        if tag in wanted and kind in _FORMATS:
            fields[tag] = read(start, f"{count}{_FORMATS[kind]}")
    (following,) = read(place + number * entry, word)
    return fields, end, following


def _reader(stream: BinaryIO, order: str) -> Callable[[int, str], tuple[int, ...]]:
    """What reads numbers in a byte order at a place; :exc:`struct.error` where the file ends."""

    def read(place: int, form: str) -> tuple[int, ...]:
        if place > _FARTHEST:
            raise struct.error("beyond any file")
        stream.seek(place)
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    return read
