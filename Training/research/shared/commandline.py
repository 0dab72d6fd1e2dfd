"""How every script reads its command line and ends: with one sentence and an exit code.

Wrong usage never ends in a traceback.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from MorseCore.commands.terminal import print_any_letter
from MorseCore.system.exits import exit_code_of
from MorseCore.system.signals import terminating

__all__ = ["add_model_and_data", "command_line", "exit_code", "positive", "whole_numbers"]


def command_line(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a script's docstring as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """The arguments of every script that scores a model on a data set."""
    parser.add_argument("model", help="name or folder")
    parser.add_argument("config", type=Path, help="a training's configuration, or a dataset.json")


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work and return its own code, else 0: done, 1: failed or stopped, 2: wrong usage."""
    print_any_letter()
    # A scheduler may end the script: no training and no hidden file must be left behind.
    with terminating():
        return exit_code_of(work)


def whole_numbers(text: str) -> list[int]:
    """``1,2,3`` as a list, for argparse: seeds or folds, each named once.

    :raises argparse.ArgumentTypeError: if the text is no such list.
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

    :raises argparse.ArgumentTypeError: if the text is no such number.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; found '{text}'")
    return number
