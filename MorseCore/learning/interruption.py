"""Ctrl-C and SIGTERM while a run is under way: a wish that the run asks for, not a crash."""

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["Interruption", "ignore_interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
