"""How every script ends: a sentence and an exit code, never a traceback for a user's mistake."""

import argparse
import sys
from collections.abc import Callable

from MorseCore.commands.terminal import print_any_letter
from MorseCore.errors import ConfigError, MorseError
from MorseCore.system.signals import terminating

__all__ = ["exit_code", "positive", "whole_numbers"]


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work; its own code, else 0: done, 1: failed or stopped, 2: wrong usage."""
    print_any_letter()
    try:
        # Ended by a scheduler, say: no training and no hidden file must be left behind.
        with terminating():
            return work() or 0
    except KeyboardInterrupt:
        print("error: Stopped; run it again to go on.", file=sys.stderr)
        return 1
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def whole_numbers(text: str) -> list[int]:
    """``1,2,3`` as a list, for argparse; seeds and folds, of which none counts twice.

    :raises argparse.ArgumentTypeError: if it is no such list.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers with commas between; found '{text}'"
        ) from None
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"names a number twice; found '{text}'")
    return numbers


def positive(text: str) -> int:
    """A whole number above 0, for argparse.

    :raises argparse.ArgumentTypeError: if it is none.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; found '{text}'")
    return number
