"""Ctrl-C and SIGTERM: both unwind a command, and neither tears a short step apart."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

__all__ = ["Interruption", "ignore_interruption", "terminating", "uninterrupted"]

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


class Interruption:
    """While entered, a first signal only raises a flag; a second Ctrl-C ends the program as usual.

    Example::

        with Interruption() as interruption:
            while not interruption.asked:
                step()
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others cannot have handlers
            self._previous = {n: signal.signal(n, self._on_signal) for n in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of a log line.
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def ignore_interruption(worker: int = 0) -> None:
    """For processes that prepare samples: Ctrl-C reaches them too, and the run still needs them.

    They end when their parent does.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
