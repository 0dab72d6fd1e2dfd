"""Ctrl-C and SIGTERM: both unwind a command, and neither tears a short step apart."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["terminating", "uninterrupted"]


@contextmanager
def terminating() -> Iterator[None]:
    """Meanwhile SIGTERM unwinds as Ctrl-C does, so that temporary files are removed.

    Python hears signals in its main thread only; elsewhere nothing changes.
    """
    if not _hears_signals():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is through; then the first one is raised.

    For making and removing a hidden file and for a line of the log, not for work that takes long.
    """
    if not _hears_signals():
        yield
        return
    held: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    mine = [n for n, handler in before.items() if handler is not None]  # None: not Python's
    for number in mine:
        signal.signal(number, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
        if held:
            signal.raise_signal(held[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _hears_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
