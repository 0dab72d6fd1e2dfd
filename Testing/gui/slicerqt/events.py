"""The event loop, turned by hand."""

import time
from collections.abc import Callable

from slicerqt.qt import application

__all__ = ["processEvents", "waitFor"]


def processEvents() -> None:
    """Deliver what is waiting, deferred deletions included."""
    application.processEvents()
    application.sendPostedEvents(None, 52)  # QEvent::DeferredDelete


def waitFor(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Turn the event loop until the condition holds.

    :raises TimeoutError: if it does not come true.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} did not come true in {seconds} s")
        processEvents()
        time.sleep(0.005)
