"""Pictures: whether JPEG, BMP and TIFF files are whole, which their readers do not say."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from MorseCore.errors import ImageError
from MorseCore.images.filechecks import check_size

__all__ = ["check_picture"]

_TAIL = 1 << 16  # bytes at the end in which a JPEG's last marker lies
_END_OF_IMAGE = b"\xff\xd9"
_STRIPS = {273: 279, 324: 325}  # TIFF's tags of where the pixels lie, and of how many bytes
# Bytes by TIFF's type of a field.
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_FORMATS = {3: "H", 4: "I", 16: "Q"}
_MOST_PAGES, _MOST_FIELDS = 10_000, 4096


def check_picture(path: Path) -> None:
    """Refuse a picture whose pixels are not all there.

    :raises ImageError: if the file ends too early.
    """
    with path.open("rb") as stream:
        head = stream.read(64)
    if head[:2] == b"\xff\xd8":
        _check_jpeg(path)
    elif head[:2] == b"BM":
        _check_bmp(path, head)
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(path, head)


def _check_jpeg(path: Path) -> None:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL))
        if _END_OF_IMAGE not in stream.read():
            raise ImageError(f"{path.name} is incomplete: it ends too early; copy it again.")


def _check_bmp(path: Path, head: bytes) -> None:
    if len(head) < 54:
        raise ImageError(f"{path.name} is incomplete: it ends too early; copy it again.")
    (start,) = struct.unpack_from("<I", head, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    if compression == 0:
        row = (abs(width) * bits + 31) // 32 * 4
        check_size(path.name, found=path.stat().st_size, expected=start + row * abs(height))


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
                raise ImageError(
                    f"{path.name} is incomplete: it ends too early; copy it again."
                ) from None
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
    wanted = {*_STRIPS, *_STRIPS.values()}
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
        stream.seek(place)
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    return read
