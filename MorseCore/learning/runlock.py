"""One training a folder: a second one would write into the checkpoints of the first."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from MorseCore.errors import ConfigError
from MorseCore.files import output_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["only_training_in"]

_FILE = ".training"
_PATIENCE = 8.0  # seconds; torch's loaders look for their parent every five


@contextmanager
def only_training_in(folder: Path) -> Iterator[None]:
    """Meanwhile no other process can train in this folder, which exists.

    The system gives the lock back when the process ends, however it does; of one that was killed,
    when the processes that loaded its samples have seen that, which is waited for.

    :raises ConfigError: if another process trains there.
    :raises OutputError: if the folder cannot be written to.
    """
    try:
        handle = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        until = time.monotonic() + _PATIENCE
        while not (is_ours := _hold(handle)) and time.monotonic() < until:
            time.sleep(0.2)
        if not is_ours:
            raise ConfigError(
                f"Another process is training in '{folder}'; wait for it or end it, or choose "
                "another output or name."
            )
        try:
            yield
        finally:
            _release(handle)
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Whether this process has the lock now; a disk without locks gives it to everybody."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return sys.platform != "win32"  # there it is the answer to a lock that is held
    return True


def _release(handle: int) -> None:
    """Give it back although processes that were forked meanwhile have the handle, too."""
    with suppress(OSError):
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_UN)
