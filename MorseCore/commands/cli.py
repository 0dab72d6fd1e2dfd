"""The command line. Exit codes: 0 all done, 1 something failed, 2 wrong usage.

A command is a file of this room: ``add`` says its options, ``run`` does it. What needs torch is
imported by ``run`` only, so that ``--help`` answers at once.
"""

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from MorseCore import __version__
from MorseCore.commands import (
    bids,
    demo,
    evaluate,
    methods,
    models,
    plan,
    preview,
    report,
    segment,
    train,
    worker,
)
from MorseCore.commands.terminal import print_any_letter
from MorseCore.errors import lacking
from MorseCore.system.allocation import SMALL, keep_freed_memory
from MorseCore.system.exits import exit_code_of
from MorseCore.system.signals import terminating

__all__ = ["main"]

_STOPPED = "interrupted; finished cases are kept, run it again to go on"
_COMMANDS = (
    demo, segment, report, bids, evaluate, models, plan, preview, train, methods, worker,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error becomes one sentence on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parsed(_parser(), _join_region(words))
    print_any_letter()
    try:
        os.getcwd()
    except FileNotFoundError:  # torch's libraries would end the process without a word
        print("error: The current folder was deleted; change to another one.", file=sys.stderr)
        return 2
    try:
        keep_freed_memory(largest=SMALL)
        with terminating(), _speaking(is_verbose=options.verbose):
            code = exit_code_of(lambda: options.run(options), stopped=_STOPPED)
        print(end="", flush=True)  # that nobody reads on is found out here, not as Python ends
        return code
    except BrokenPipeError:  # the reader of our output, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ModuleNotFoundError as error:
        print(lacking(error), file=sys.stderr)
    except Exception as error:
        if options.verbose:
            traceback.print_exc()
        print(f"error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    return 1


@contextmanager
def _speaking(*, is_verbose: bool) -> Iterator[None]:
    """Meanwhile what is logged goes to stderr, and what is meant for programmers nowhere."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if is_verbose else logging.INFO)
    try:
        with warnings.catch_warnings():
            if not is_verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """``key=value`` may stand anywhere, which argparse allows before the first option only."""
    options, rest = parser.parse_known_args(words)
    strange = [word for word in rest if word.startswith("-") or "=" not in word]
    if strange or (rest and not hasattr(options, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(strange or rest)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _join_region(words: list[str]) -> list[str]:
    """``--roi -20,20,…`` as ``--roi=-20,20,…``, which argparse would take for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--roi" and word[:1] == "-" and word[1:2] in {*"0123456789."}:
            joined[-1] = f"--roi={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="morsesegment",
        description="Segment CT and MR; render the boundary again where the network is unsure.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="details of unexpected errors")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
