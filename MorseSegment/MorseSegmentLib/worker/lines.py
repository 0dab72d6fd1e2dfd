"""The worker's events out of the pieces in which bytes arrive."""

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["EventLines"]


class EventLines:
    """Collects bytes and gives one event for each complete line.

    Bytes are split at line ends before they are decoded: a piece may end within a character.

    Example::

        lines = EventLines()
        list(lines.feed(b'{"event": "rea'))     # []
        list(lines.feed(b'dy"}\\nhello\\n'))      # [{"event": "ready"}, "hello"]
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any] | str]:
        """Events as dictionaries; a line that is none, as text."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        for line in complete:
            text = line.decode("utf-8", errors="replace").strip()
            if text:
                yield _event(text)


def _event(text: str) -> dict[str, Any] | str:
    try:
        event = json.loads(text)
    except ValueError:
        return text
    return event if isinstance(event, dict) and "event" in event else text
