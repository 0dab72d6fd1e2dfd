"""What a command shows on the terminal: any letter, and a progress bar for each case."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from MorseCore.system.signals import uninterrupted

__all__ = ["print_any_letter", "terminal_progress"]


class _Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar; what is written beside it is whole lines, whenever Ctrl-C comes."""

    @classmethod
    def write(
        cls, s: str, file: TextIO | None = None, end: str = "\n", nolock: bool = False
    ) -> None:
        """As tqdm's, which writes the end of the line for itself."""
        with uninterrupted():
            super().write(s, file=file, end=end, nolock=nolock)


def print_any_letter() -> None:
    """What a terminal or a file cannot show (Δ and ≤ in Windows' code pages) becomes an escape.

    Else the command would end there, after hours of work.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def terminal_progress() -> Iterator[Callable[[str, str, float], None]]:
    """Yield a function of case, stage and percent that keeps one bar a case."""
    bar: tqdm | None = None
    current = ""

    def tell(case: str, stage: str, percent: float) -> None:
        nonlocal bar, current
        if bar is None or case != current:
            if bar is not None:
                bar.close()
            # disable=None: none where stderr is no terminal, e.g. in a log file.
            bar = _Bar(
                total=100, desc=case, unit="%", dynamic_ncols=True, leave=False, disable=None
            )
            current = case
        bar.set_postfix_str(stage, refresh=False)
        bar.update(max(0, round(percent) - bar.n))

    with logging_redirect_tqdm(tqdm_class=_Bar):
        try:
            yield tell
        finally:
            if bar is not None:
                bar.close()
