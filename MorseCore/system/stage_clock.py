"""Where the time goes: seconds by stage, summed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StageClock"]


class StageClock:
    """Seconds by stage.

    Example::

        clock = StageClock()
        with clock("prepare"):
            ...
        clock.seconds                # {"prepare": 0.1234}
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = self.seconds.get(stage, 0.0) + time.perf_counter() - started
        self.seconds[stage] = round(seconds, 4)
