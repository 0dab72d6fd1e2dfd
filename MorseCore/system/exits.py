"""How every command and script ends: one sentence and an exit code, never a traceback."""

import sys
from collections.abc import Callable

from MorseCore.errors import Cancelled, ConfigError, DeviceError, ModelError, MorseError

__all__ = ["USAGE_ERRORS", "exit_code_of"]

USAGE_ERRORS = (ConfigError, DeviceError, ModelError)
"""Errors that mean wrong usage: something was wrong before any scan was looked at."""


def exit_code_of(
    work: Callable[[], int | None], *, stopped: str = "error: Stopped; run it again to go on."
) -> int:
    """Do the work; a person's mistake becomes one sentence on stderr.

    :param stopped: what to say after Ctrl-C.
    :return: the work's own code, else 0: done, 1: failed or stopped, 2: wrong usage.
    """
    try:
        return work() or 0
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
    except Cancelled as error:
        print(error, file=sys.stderr)
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, USAGE_ERRORS) else 1
    return 1
