"""Compressed pixels: which kinds are read, and whether all of their fragments are there."""

import struct
from collections.abc import Mapping
from typing import BinaryIO

from MorseCore.errors import ImageError
from MorseCore.images.dicom.headers import DicomFile

__all__ = ["COMPRESSED", "check_fragments"]

COMPRESSED: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "JPEG", "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.57": "JPEG", "1.2.840.10008.1.2.4.70": "JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS", "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000", "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}  # fmt: skip
"""Transfer syntaxes that are read, and the family of each."""
_HEADS = {
    "JPEG": (b"\xff\xd8",), "JPEG-LS": (b"\xff\xd8",), "RLE": (),
    "JPEG 2000": (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "),
}  # fmt: skip
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_JPEG_LS_FRAME = 0xF7  # marker before the size
_TAIL = 256  # bytes at the end of a frame in which a JPEG's last marker lies


def check_fragments(file: DicomFile, stream: BinaryIO) -> None:
    """Refuse compressed pixels that are cut off or overwritten, which decoders fill with grey.

    :raises ImageError: if fragments are missing, or do not begin or end as they must.
    """
    family = COMPRESSED[file.syntax]
    fragments = _fragments(file, stream)
    if len(fragments) < file.frames:
        raise ImageError(
            f"{file.name} is incomplete: it has {file.frames} frame(s) and the compressed pixels "
            f"of {len(fragments)}; copy it again."
        )
    if len(fragments) == file.frames:
        parts = [(fragment, fragment) for fragment in fragments]
    else:  # frames are spread over several fragments; which begins one is not said everywhere
        parts = [(fragments[0], fragments[-1])]
    heads = _HEADS[family]
    for (first, _), (last, length) in parts:
        stream.seek(first)
        if heads and not stream.read(8).startswith(heads):
            raise _spoilt(file, family)
        if family == "JPEG":
            stream.seek(last + max(0, length - _TAIL))
            if not stream.read(min(length, _TAIL)).rstrip(b"\0\xff").endswith(b"\xff\xd9"):
                raise _spoilt(file, family)
    stream.seek(fragments[0][0])
    _check_coded_size(file, family, stream.read(fragments[0][1]))


def _check_coded_size(file: DicomFile, family: str, frame: bytes) -> None:
    """Where the decoder would cut a frame to the header's size: both have to be one."""
    rows, columns = file.size
    if family == "JPEG-LS":
        found = _jpeg_ls_size(frame)
        is_other = found is not None and found != (rows, columns)
    elif family == "RLE":
        is_other = _rle_length(frame, most=(rows + 1) * columns) > (rows + 1) * columns
    else:
        is_other = False
    if is_other:
        raise ImageError(
            f"{file.name} contradicts itself: its header says {columns} x {rows} pixels, and its "
            "compressed pixels are of another size."
        )


def _jpeg_ls_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns by the stream's own header."""
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        if frame[place + 1] == _JPEG_LS_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, place + 5)
            return int(rows), int(columns)
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _rle_length(frame: bytes, *, most: int) -> int:
    """Bytes in the first segment, unpacked; counted until there are more than ``most``."""
    if len(frame) < 64:
        return 0
    count, start, end = struct.unpack_from("<3I", frame)
    segment = frame[start : end if count > 1 else len(frame)]
    place = length = 0
    while place < len(segment) and length <= most:
        head = segment[place]
        if head < 128:  # so many bytes and one more, as they are
            length += head + 1
            place += head + 2
        else:  # one byte, repeated; 128 means nothing
            length += 257 - head if head > 128 else 0
            place += 2 if head > 128 else 1
    return length


def _fragments(file: DicomFile, stream: BinaryIO) -> list[tuple[int, int]]:
    """Start and length of each, without the table of offsets that comes first."""
    assert file.pixels is not None
    stream.seek(0, 2)
    end = stream.tell()
    place, found = file.pixels.start, list[tuple[int, int]]()
    while True:
        stream.seek(place)
        head = stream.read(8)
        if head[:4] == _END:
            return found[1:]
        if len(head) < 8 or head[:4] != _ITEM:
            raise _cut(file)
        (length,) = struct.unpack_from("<I", head, 4)
        found.append((place + 8, length))
        place += 8 + length
        if place > end:
            raise _cut(file)


def _cut(file: DicomFile) -> ImageError:
    return ImageError(
        f"{file.name} is incomplete: its compressed pixels end too early; copy it again."
    )


def _spoilt(file: DicomFile, family: str) -> ImageError:
    return ImageError(
        f"{file.name} is damaged: its compressed pixels do not begin and end as {family} does; "
        "copy it again."
    )
