"""Compressed pixels: which kinds are read, and whether all of their fragments are there."""

import math
import struct
from collections.abc import Mapping
from typing import BinaryIO

from MorseCore.errors import ImageError
from MorseCore.images.dicom.headers import DicomFile

__all__ = ["COMPRESSED", "Fragments", "find_frames", "join"]

Fragments = list[tuple[int, int]]
"""Start and length of each part in a file, bytes."""

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
_LARGE, _DENSEST = 1 << 26, 1000  # pixels, and pixels a byte; a trap for the memory has more
_JPEG_LS_FRAME = 0xF7  # marker before the size
_TAIL = 256  # bytes at the end of a frame in which a JPEG's last marker lies


def find_frames(file: DicomFile, stream: BinaryIO) -> list[Fragments]:
    """Where the parts of every frame are.

    :raises ImageError: if parts are missing, do not begin or end as they must, where decoders
        would fill up with grey, or if it is not said which of them make up a frame.
    """
    family = COMPRESSED[file.syntax]
    offsets, fragments = _read_fragments(file, stream)
    if len(fragments) < file.frames:
        raise ImageError(
            f"{file.name} is incomplete: it has {file.frames} frame(s) and the compressed pixels "
            f"of {len(fragments)}; copy it again."
        )
    pixels, packed = math.prod((file.frames, *file.size)), sum(size for _, size in fragments)
    if pixels > _LARGE and pixels > _DENSEST * packed:
        raise ImageError(
            f"{file.name} claims {pixels} pixels in {packed} compressed bytes; it is no image of a "
            "scanner."
        )
    frames = _grouped(file, offsets, fragments)
    for frame in frames:
        _check_ends(file, family, frame, stream)
    if family in ("JPEG-LS", "RLE"):
        _check_coded_size(file, family, join(frames[0], stream))
    return frames


def join(fragments: Fragments, stream: BinaryIO) -> bytes:
    """The compressed bytes of a frame."""
    parts = []
    for start, length in fragments:
        stream.seek(start)
        parts.append(stream.read(length))
    return b"".join(parts)


def _grouped(file: DicomFile, offsets: list[int], fragments: Fragments) -> list[Fragments]:
    """The parts by frame: one each, all of one frame, or as the table of offsets says."""
    if len(fragments) == file.frames:
        return [[fragment] for fragment in fragments]
    if file.frames == 1:
        return [fragments]
    first = fragments[0][0]
    starts = {first + offset for offset in offsets}
    frames: list[Fragments] = []
    for fragment in fragments:
        if fragment[0] in starts:
            frames.append([])
        elif not frames:
            break
        frames[-1].append(fragment)
    if len(frames) != file.frames:
        raise ImageError(
            f"{file.name} has {file.frames} compressed frames in {len(fragments)} parts and does "
            "not say which belong together; export it uncompressed."
        )
    return frames


def _check_ends(file: DicomFile, family: str, frame: Fragments, stream: BinaryIO) -> None:
    """A frame begins and ends with its family's marks."""
    stream.seek(frame[0][0])
    heads = _HEADS[family]
    is_fine = not heads or stream.read(12).startswith(heads)
    if is_fine and family == "JPEG":
        last, length = frame[-1]
        stream.seek(last + max(0, length - _TAIL))
        tail = stream.read(min(length, _TAIL)).rstrip(b"\0\xff")
        is_fine = tail.endswith(b"\xff\xd9")
    if not is_fine:
        raise ImageError(
            f"{file.name} is damaged: its compressed pixels do not begin and end as {family} does; "
            "copy it again."
        )


def _check_coded_size(file: DicomFile, family: str, frame: bytes) -> None:
    """Decoders of these cut a frame to the header's size in silence."""
    rows, columns = file.size
    if family == "JPEG-LS":
        found = _jpeg_ls_size(frame)
        is_other = found is not None and found != (rows, columns)
    else:
        most = (rows + 1) * columns
        is_other = _rle_length(frame, most=most) > most
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


def _read_fragments(file: DicomFile, stream: BinaryIO) -> tuple[list[int], Fragments]:
    """The table of offsets, which may be empty, and the start and length of each part."""
    assert file.pixels is not None
    place, end = file.pixels.start, file.pixels.start + file.pixels.there
    found: Fragments = []
    while True:
        stream.seek(place)
        head = stream.read(8)
        if found and head[:4] == _END:
            break
        length = int.from_bytes(head[4:], "little")
        if len(head) < 8 or head[:4] != _ITEM or place + 8 + length > end:
            raise ImageError(
                f"{file.name} is incomplete: its compressed pixels end too early; copy it again."
            )
        found.append((place + 8, length))
        place += 8 + length
    table = join(found[:1], stream)
    return [*struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])], found[1:]
