"""Lines of any length and of any bytes: read in pieces, and whose request a broken one was."""

import io

import pytest

from MorseCore.errors import ConfigError
from MorseCore.service.lines import MAX_LINE, Line, find_id, read_lines


class Trickle(io.RawIOBase):
    """Gives few bytes at a time, as pipes do."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__()
        self._data, self._size = data, size

    def read(self, size: int = -1) -> bytes:
        piece, self._data = self._data[: self._size], self._data[self._size :]
        return piece


def as_line(data: bytes) -> Line:
    return Line(data, len(data))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_the_same_in_pieces_of_any_size(size: int) -> None:
    data = "one\n\nzwö\r\n\x00\n".encode() + b"the last has no end"
    lines = [line.start for line in read_lines(Trickle(data, size))]
    assert lines == data.split(b"\n")


def test_of_a_long_line_the_beginning_is_kept_and_its_length_is_said() -> None:
    data = b"short\n" + b"a" * (3 * MAX_LINE) + b"\nshort again\n"
    first, long, last = read_lines(Trickle(data, 65536))
    assert (first.text(), last.text()) == ("short", "short again")
    assert (len(long.start), long.length) == (MAX_LINE, 3 * MAX_LINE)
    with pytest.raises(ConfigError, match=f"may have {MAX_LINE} bytes; found {3 * MAX_LINE}"):
        long.text()
    (whole,) = read_lines(Trickle(b"b" * MAX_LINE + b"\n", 65536))
    assert len(whole.text()) == MAX_LINE


def test_bytes_that_are_no_text_are_named_with_their_place() -> None:
    with pytest.raises(ConfigError, match="the byte 0xff at place 3"):
        as_line(b"ab\xff").text()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"request": "x", "id": 5, "more": {"id": 6}}', 5),
        (b'{"more": {"id": 6}, "id": 5, ', 5),
        (b'{"more": [{"id": 6}, {"id": 7}]}', None),
        (b'{"name": "\\"id\\": 7", "id": -8, "x": tru}', -8),
        (b'{"name": "never closed, "id": 7', None),
        (b'{"id": 3, "name": "never closed', 3),
        (b'{"x": \xff\xfe, "id": 3}', 3),
        (b'{"id": 4\r', 4),
        (b'{"id": 1, "id": 1}', 1),
        (b'{"id": 1, "id": 2}', None),
        (b'{"id": 1.0}', None),
        (b'{"id": "1"}', None),
        (b'{"id": true}', None),
        (b'{"id": 01}', None),
        (b'{"id": [1]}', None),
        (b'{"x": "id", 3: 4}', None),
        (b'[{"id": 1}]', None),
        (b'{} {"id": 1}', None),
        (b'"id": 1', None),
        (b"", None),
        (b'{"id": ' + b"9" * 4000 + b"}", int("9" * 4000)),
        (b'{"id": ' + b"9" * 5000 + b"}", None),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": 3}', 3),
    ],
)
def test_the_id_is_the_number_beside_that_key_of_the_outermost_object(
    line: bytes, expected: int | None
) -> None:
    assert find_id(as_line(line)) == expected


def test_a_number_that_was_cut_off_is_no_id() -> None:
    assert find_id(Line(b'{"id": 12', 10**8)) is None
    assert find_id(Line(b'{"id": 12,', 10**8)) == 12


@pytest.mark.parametrize(
    "piece", [b'"', b'\\"', b'"\\', b"{", b"[[", b'"a', b'{"id":1,', b" ", b"\\\\", b"\x00"]
)
def test_no_line_makes_looking_for_its_id_endless(piece: bytes) -> None:
    """Of a pattern that begins anew at every quote, a megabyte of them takes hours."""
    for start in (b"", b"{", b'{"'):
        data = start + piece * (MAX_LINE // len(piece))
        assert find_id(as_line(data[:MAX_LINE])) in (None, 1)
