"""Several files of a folder replaced together: all or none, also if the program is killed.

The new files are written into a hidden folder (``.tmp-…``) beside the old ones. Its renaming to
``.ready`` is the moment from which they count; then they are moved into place. A kill before that
moment leaves the old files as they were, a kill after it leaves the rest of the moves to
:func:`finish_replacing`.
"""

import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from MorseCore.errors import OutputError
from MorseCore.files import output_error, replace_patiently
from MorseCore.signals import uninterrupted

if sys.platform != "win32":
    import fcntl

__all__ = ["finish_replacing", "replaced_together", "temporary_folder"]

_PREFIX, _LOCK, _READY = ".tmp-", ".lock", ".ready"

Supersedes = Callable[[str], Iterable[str]]
"""The files of other names that a new file takes the place of."""


@contextmanager
def replaced_together(
    folder: Path, *, last: str, supersedes: Supersedes = lambda name: ()
) -> Iterator[Path]:
    """Yield an empty hidden folder; when the block succeeds, its files move into ``folder``.

    :param last: the file that marks the others as complete: it goes first and comes last.
    :param supersedes: names the old files that go when a new one of a given name comes.
    :raises OutputError: if the folder cannot be written to; the old files are as they were.
    """
    finish_replacing(folder, last=last, supersedes=supersedes)
    with temporary_folder(folder) as staged:
        try:
            yield staged
        except OutputError as error:  # the person knows the folder, not our hidden one
            raise OutputError(str(error).replace(str(staged), str(folder))) from error
        try:
            replace_patiently(staged, folder / _READY)
        except OSError as error:
            raise output_error(folder, error) from error
    finish_replacing(folder, last=last, supersedes=supersedes)


def finish_replacing(folder: Path, *, last: str, supersedes: Supersedes = lambda name: ()) -> None:
    """Move files into place that are complete but were not all moved when a program was killed.

    :raises OutputError: if a file cannot be moved; the next call goes on from there.
    """
    ready = folder / _READY
    if not ready.is_dir():
        return
    try:
        names = sorted(path.name for path in ready.iterdir())
        if last in names:
            names.append(names.pop(names.index(last)))
            (folder / last).unlink(missing_ok=True)
        for old in {old for name in names for old in supersedes(name)} - {*names}:
            (folder / old).unlink(missing_ok=True)
        for name in names:
            replace_patiently(ready / name, folder / name)
        ready.rmdir()
    except OSError as error:
        named = error.filename2 or error.filename or folder
        raise output_error(folder / Path(named).name, error) from error


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in ``parent`` that is gone after the block.

    Those that killed programs left in ``parent`` are removed first; those of running ones stay.

    :raises OutputError: if it cannot be made.
    """
    _remove_abandoned(parent)
    folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
    lock = folder.with_name(folder.name + _LOCK)
    held: list[BinaryIO] = []
    try:
        with uninterrupted():
            try:
                held.append(lock.open("wb"))
                _hold(held[0])
                folder.mkdir()
            except OSError as error:
                raise output_error(parent, error) from error
        yield folder
    finally:
        try:
            _clean(folder, lock, held)
        except KeyboardInterrupt:  # before it had begun, or as soon as it was through
            _clean(folder, lock, held)
            raise


def _clean(folder: Path, lock: Path, held: Iterable[BinaryIO]) -> None:
    """Remove both, the lock last: what is locked is left alone by others. May be done twice."""
    with uninterrupted():
        shutil.rmtree(folder, ignore_errors=True)
        for stream in held:
            stream.close()
        if not folder.exists():  # else what could not be deleted is found by the lock, next time
            _remove_lock(lock)


def _remove_lock(lock: Path) -> None:
    """Remove it, or leave it to the next program: on Windows one that just looks at it may."""
    with suppress(OSError):
        lock.unlink(missing_ok=True)


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{_PREFIX}*{_LOCK}"):
        try:
            with lock.open("r+b") as stream:
                if not _hold(stream):
                    continue
            lock.unlink()  # Windows refuses this while the file is open in another program
        except OSError:
            continue
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    for path in parent.glob(f"{_PREFIX}*"):  # the probe of `prepare_output_directory`
        if path.suffix != _LOCK and path.is_file() and path.stat().st_size == 0:
            path.unlink(missing_ok=True)


def _hold(stream: BinaryIO) -> bool:
    """Lock an open file until it is closed; False if another program holds it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network drive without locks
        return True
    return True
