"""How far a training run is: a bar on a terminal, a line a minute in a log."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["ProgressTeller", "training_progress"]

log = logging.getLogger(__name__)
_PAUSE = 60.0  # seconds between two lines


class ProgressTeller(Protocol):
    """Called after each step."""

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        """:param step: steps that are done."""


@contextmanager
def training_progress(
    name: str, *, start: int, total: int, enabled: bool
) -> Iterator[ProgressTeller]:
    """Yield a function that tells steps, losses and the time left.

    :param start: steps that were done before.
    """
    # ``disable=None`` is tqdm's word for "only on a terminal".
    bar = tqdm(
        total=total, initial=start, desc=name, unit="it", mininterval=1, dynamic_ncols=True,
        disable=None if enabled else True,
    )  # fmt: skip
    began = last = time.monotonic()

    def tell(step: int, losses: Mapping[str, float]) -> None:
        nonlocal last
        bar.set_postfix({key: f"{value:.3f}" for key, value in losses.items()}, refresh=False)
        bar.update()
        now = time.monotonic()
        if enabled and bar.disable and now - last >= _PAUSE:
            last = now
            left = (now - began) / (step - start) * (total - step)
            shown = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
            log.info("step %d of %d: %s; %s left", step, total, shown, tqdm.format_interval(left))

    with bar:
        if bar.disable:
            yield tell
        else:
            with logging_redirect_tqdm():
                yield tell
