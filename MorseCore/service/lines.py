"""Lines from the other side, whatever comes: read in pieces, and whose request a broken one was."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from MorseCore.errors import ConfigError

__all__ = ["MAX_LINE", "Line", "find_id", "read_lines"]

MAX_LINE = 1 << 20  # bytes; requests have a few hundred
_PIECE = 1 << 16  # bytes read at once
# A text, a bracket or a sign, or anything else up to the next of them. What follows a text that
# is never closed is no token, and no attempt is made at it: that would take for ever.
_TOKEN = re.compile(rb'\s*+("(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|[^\s"{}\[\]:,]++)', re.DOTALL)
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)")


class ByteStream(Protocol):
    """What an unbuffered file offers: it waits for the first byte, not for all."""

    def read(self, size: int, /) -> bytes | None: ...


@dataclass(frozen=True)
class Line:
    """A line without its end."""

    start: bytes
    """All of it, or the first :data:`MAX_LINE` bytes."""
    length: int
    """Bytes of the whole."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.length == len(self.start)

    def text(self) -> str:
        """What the line says.

        :raises ConfigError: if it is too long, or no UTF-8.
        """
        if not self.is_whole:
            raise ConfigError(f"A line may have {MAX_LINE} bytes; found {self.length}.")
        try:
            return self.start.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"The line is no UTF-8 text: it has the byte {self.start[error.start]:#04x} at "
                f"place {error.start + 1}."
            ) from None


def read_lines(stream: ByteStream) -> Iterator[Line]:
    """Every line of a stream, as soon as it has ended; of a long one only the beginning is held.

    Example::

        for line in read_lines(os.fdopen(0, "rb", buffering=0)):
            answer(line.text())
    """
    start, length = bytearray(), 0
    while piece := stream.read(_PIECE):
        *ended, rest = piece.split(b"\n")
        for part in ended:
            start += part[: MAX_LINE - len(start)]
            yield Line(bytes(start), length + len(part))
            start, length = bytearray(), 0
        start += rest[: MAX_LINE - len(start)]
        length += len(rest)
    if length:
        yield Line(bytes(start), length)


def find_id(line: Line) -> int | None:
    """The ``id`` of a request that cannot be read otherwise; None if it has none, or two.

    It is the whole number beside that key in the line's outermost object. ``id`` elsewhere, in a
    text or in an object inside, is not meant.
    """
    depth, before, found = 0, (b"", b"", b""), set[bytes]()
    for token in _tokens(line):
        if not depth and token != b"{":
            break  # no object, or the end of one
        if depth == 1 and before[1:] == (b'"id"', b":") and before[0] in (b"{", b","):
            found.add(token)
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        before = (*before[1:], token)
        if not depth:
            break
    number = found.pop() if len(found) == 1 else b""
    if not _NUMBER.fullmatch(number):
        return None
    try:
        return int(number)
    except ValueError:  # Python reads at most 4300 digits
        return None


def _tokens(line: Line) -> Iterator[bytes]:
    place = 0
    while match := _TOKEN.match(line.start, place):
        place = match.end()
        if place < len(line.start) or line.is_whole:  # else there may be more of it
            yield match[1]
