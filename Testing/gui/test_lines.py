"""Bytes arrive in pieces of any size."""

import json

import pytest

from MorseSegmentLib.worker.runner import EventLines

EVENTS = [{"event": "log", "message": "größer"}, {"event": "ready", "pid": 4}]
BYTES = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in EVENTS).encode()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_whole_whatever_the_pieces(size: int) -> None:
    lines = EventLines()
    pieces = [BYTES[n : n + size] for n in range(0, len(BYTES), size)]
    assert [event for piece in pieces for event in lines.feed(piece)] == EVENTS


def test_an_unfinished_line_waits() -> None:
    lines = EventLines()
    assert list(lines.feed(b'{"event": "ready"}')) == []
    assert list(lines.feed(b"\r\n")) == [{"event": "ready"}]


@pytest.mark.parametrize("text", ["hello", "[1, 2]", '{"kind": "other"}', "\N{SNOWMAN}"])
def test_what_is_no_event_is_text(text: str) -> None:
    assert list(EventLines().feed(f"{text}\n\n".encode())) == [text]


def test_bytes_that_are_no_text_are_no_error() -> None:
    (found,) = EventLines().feed(b"\xff\xfe\n")
    assert isinstance(found, str)
