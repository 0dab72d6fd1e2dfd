"""Ctrl-C and SIGTERM: both unwind a command, and neither tears a short step apart."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["terminating", "uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Steps:
    """Of the program's main thread, the only one that Python lets hear signals."""

    depth = 0
    """How many steps are under way, one within the other."""
    is_interrupted = False
    """Whether a signal waits for the outermost one."""


@contextmanager
def terminating() -> Iterator[None]:
    """Meanwhile SIGTERM unwinds as Ctrl-C does, and both wait for steps that are uninterrupted.

    For a program's outermost function. What its parent has it ignore, it goes on to ignore.
    """
    if not _is_main_thread():
        yield
        return
    _Steps.is_interrupted = False
    before = {n: signal.getsignal(n) for n in _SIGNALS}
    try:
        for number, handler in before.items():
            # None: not Python's, and could not be put back.
            if handler not in (None, signal.SIG_IGN):
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Within :func:`terminating`, let Ctrl-C and SIGTERM wait until the block is through.

    For making and removing a hidden file and for a line of the log, not for work that takes long.
    Elsewhere, e.g. in a notebook or in Slicer, nothing is changed: signals are the host's.
    """
    if not _is_main_thread():
        yield
        return
    _Steps.depth += 1
    try:
        yield
    finally:
        _Steps.depth -= 1
        if _Steps.is_interrupted and not _Steps.depth:
            _Steps.is_interrupted = False
            raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Steps.is_interrupted = _Steps.depth > 0
    if not _Steps.is_interrupted:
        raise KeyboardInterrupt


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
