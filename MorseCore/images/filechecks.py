"""What is looked at in a file before native code opens it: its kind, and whether it is whole.

ITK fills the rest of a truncated file with zeros or with what happens to lie in memory, waits for
ever for a pipe, and believes any size that a header claims.
"""

import logging
import stat
import zlib
from pathlib import Path

from MorseCore.errors import ImageError

__all__ = [
    "check_is_regular", "check_size", "damaged", "is_gzip", "note_surplus", "unpacked_length",
]  # fmt: skip

logger = logging.getLogger(__name__)

_BLOCK = 1 << 16  # bytes; empty images unpack to a thousand times their size
_SLACK = 1 << 26  # bytes that a file may hold beyond its voxels
_GZIP = b"\x1f\x8b"


def check_is_regular(path: Path) -> None:
    """Refuse pipes, devices and sockets, which a reader would wait for.

    :raises ImageError: if it is neither a file nor a folder, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ImageError(f"{path.name} is no regular file but a device, a pipe or a socket.")


def check_size(name: str, *, found: int, expected: int) -> None:
    """Refuse a file that holds less than its header says.

    :raises ImageError: with both numbers.
    """
    if found < expected:
        raise ImageError(
            f"{name} is incomplete: {expected} bytes are expected and {found} are there; "
            "copy it again."
        )


def note_surplus(name: str, *, found: int, expected: int) -> list[str]:
    """A sentence for the report, already logged, if a file holds more than its header says.

    Behind a header of its own, or at a wrong size of the image, the first bytes are not the voxels.
    """
    if found <= expected:
        return []
    sentence = (
        f"{name} holds {found} bytes, and its header asks for {expected}; the first of them are "
        "taken, so check that the size of the image is right."
    )
    logger.warning("%s", sentence)
    return [sentence]


def is_gzip(path: Path, *, offset: int = 0) -> bool:
    """Whether a file, or what lies in it from a place on, begins as gzip files do."""
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(2) == _GZIP


def unpacked_length(path: Path, *, expected: int, offset: int = 0, most: int | None = None) -> int:
    """Unpack a gzip or zlib stream to its end and its check sum; the number of bytes in it.

    What follows the stream is not looked at.

    :param expected: bytes that it should have; one that holds far more is no image.
    :param offset: where the stream begins in the file.
    :param most: packed bytes in which it must end; None: all of the file.
    :raises ImageError: if it is damaged, ends too early, or holds far too much.
    """
    length, unpacker = 0, zlib.decompressobj(wbits=47)
    left = path.stat().st_size if most is None else most
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while block := stream.read(min(_BLOCK, left)):
                left -= len(block)
                length += len(unpacker.decompress(block))
                # Some programs write a file as several gzip members, one after the other.
                while unpacker.eof and unpacker.unused_data[:2] == _GZIP:
                    rest, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=47)
                    length += len(unpacker.decompress(rest))
                if length > 2 * expected + _SLACK:
                    raise ImageError(
                        f"{path.name} unpacks to far more than the {expected} bytes that its "
                        "header promises; it is no image."
                    )
                if unpacker.eof and unpacker.unused_data[:2] not in (b"", _GZIP[:1]):
                    break  # a gigabyte may follow
    except zlib.error as error:
        raise damaged(path) from error
    if not unpacker.eof:
        raise ImageError(
            f"{path.name} is incomplete: its compressed data ends too early; copy it again."
        )
    return length


def damaged(path: Path) -> ImageError:
    """The sentence for compressed data that cannot be unpacked."""
    return ImageError(
        f"{path.name} is damaged: its compressed data cannot be unpacked; copy it again."
    )
