"""Writing files so that a reader never meets half of one, and locks so that no two write.

Several files of a folder are replaced together, all or none, also if the program is killed: the
new ones are written into a hidden folder (``.tmp-…``) beside the old ones. Its renaming to
``.ready`` is the moment from which they count; then they are moved into place. A kill before that
moment leaves the old files as they were, a kill after it leaves the rest of the moves to
:func:`finish_replacing`.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from MorseCore.errors import ConfigError, OutputError, one_line
from MorseCore.system.signals import uninterrupted

__all__ = [
    "atomic_path",
    "finish_replacing",
    "is_training_in",
    "only_training_in",
    "output_error",
    "prepare_output_directory",
    "printable",
    "remove_abandoned",
    "replace_patiently",
    "replaced_together",
    "temporary_folder",
    "sha256",
    "write_json",
    "write_text",
]

_PREFIX, _LOCK, _READY = ".tmp-", ".lock", ".ready"

Supersedes = Callable[[str], Iterable[str]]
"""The files of other names that a new file takes the place of."""
_TRAINING = ".training"
_PATIENCE = 8.0  # seconds; torch's loaders look for their parent every five
_REPLACE_ATTEMPTS = 8
_FIRST_WAIT = 0.05  # seconds; doubled each time, 6.4 s in all: a virus scanner has looked by then
_BLOCK = 1 << 20
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.EEXIST: "a file of that name is in the way",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "its name is too long",
}


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``target``; move it onto ``target`` when the block succeeds.

    The temporary name ends as the target's does (``.nii.gz``), so that writers which choose a
    format by suffix choose the same one. If the block fails, the old target stays and the new file
    goes.

    :raises OutputError: if the file cannot be written or moved; the reason is in the sentence.
    """
    temporary = _temporary_beside(target)
    try:
        temporary.touch(exist_ok=False)  # not mkstemp: its 0600 would hide results from a group
        yield temporary
        _flush_to_disk(temporary)
        replace_patiently(temporary, target)
        _flush_directory(target.parent)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with uninterrupted():
            _remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line ends as given.

    :raises OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: Path, data: Any, *, indent: int | None = 2) -> None:
    """Write ``data`` as JSON, strict: NaN and infinity are refused with a ValueError.

    :param indent: None for one line, which Python writes about eight times faster.
    :raises OutputError: if the file cannot be written.
    """
    write_text(path, json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits. :raises OSError: if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def prepare_output_directory(path: Path) -> Path:
    """Create a folder with its parents and try to write in it, so that a run fails early.

    :raises OutputError: if it cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = _temporary_beside(path / "probe")
        with uninterrupted():
            probe.touch(exist_ok=False)
            _remove(probe)
    except OSError as error:
        raise output_error(path, error) from error
    return path


def _temporary_beside(target: Path) -> Path:
    return target.with_name(f".tmp-{secrets.token_hex(4)}{''.join(target.suffixes[-2:])}")


def printable(name: str) -> str:
    """A file name that any file can hold: control characters and odd bytes become escapes."""
    return one_line(name)


def output_error(path: Path, error: OSError) -> OutputError:
    """The sentence for a file or folder that the system refused to write."""
    reason = _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)
    return OutputError(f"{path} cannot be written: {reason}.")


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_directory(path: Path) -> None:
    """Make the new name durable; Windows has no handle for it and some network drives refuse."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


def replace_patiently(source: Path, target: Path) -> None:
    """``os.replace``, tried again while a scanner or an indexer holds one of the two (Windows).

    Of a folder, too, which Windows does not rename as long as any file in it is open: files that
    were just written are looked at by virus scanners.

    :raises OSError: if it cannot be done even then.
    """
    wait = _FIRST_WAIT
    for _ in range(_REPLACE_ATTEMPTS - 1):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(wait)
            wait *= 2
    source.replace(target)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the failure that brought us here is the one to report
        return


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
    remove_abandoned(parent)
    folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
    lock = folder.with_name(folder.name + _LOCK)
    held: list[Any] = []
    try:
        with uninterrupted():
            try:
                _hold(lock, held)
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


def _clean(folder: Path, lock: Path, held: Iterable[Any]) -> None:
    """Remove both, the lock last: what is locked is left alone by others. May be done twice."""
    with uninterrupted():
        shutil.rmtree(folder, ignore_errors=True)
        for one in held:
            one.release()
        if not folder.exists():  # else what could not be deleted is found by the lock, next time
            _remove_lock(lock)


def _remove_lock(lock: Path) -> None:
    """Remove it, or leave it to the next program: on Windows one that just looks at it may."""
    with suppress(OSError):
        lock.unlink(missing_ok=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden files and folders that killed programs left in a folder."""
    for lock in parent.glob(f"{_PREFIX}*{_LOCK}"):
        held: list[Any] = []
        try:
            if not _hold(lock, held):
                continue
        except OSError:
            continue
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        for one in held:
            one.release()
        _remove_lock(lock)
    for path in parent.glob(f"{_PREFIX}*"):  # the probe of `prepare_output_directory`
        if path.suffix != _LOCK and path.is_file() and path.stat().st_size == 0:
            path.unlink(missing_ok=True)


@contextmanager
def only_training_in(folder: Path) -> Iterator[None]:
    """Meanwhile no other process can train in this folder, which exists.

    The system gives the lock back when the process ends, however it does; of one that was killed,
    when the processes that loaded its samples have seen that, which is waited for.

    :raises ConfigError: if another process trains there: it would write into its checkpoints.
    :raises OutputError: if the folder cannot be written to.
    """
    held: list[Any] = []
    try:
        is_ours = _hold(folder / _TRAINING, held, patience=_PATIENCE)
    except OSError as error:
        raise output_error(folder, error) from error
    if not is_ours:
        raise ConfigError(
            f"Another process is training in '{folder}'; wait for it or end it, or choose "
            "another output or name."
        )
    try:
        yield
    finally:
        for one in held:
            one.release()


def is_training_in(folder: Path) -> bool:
    """Whether a process trains in this folder now."""
    path = folder / _TRAINING
    if not path.is_file():
        return False
    held: list[Any] = []
    is_free = _hold(path, held)
    for one in held:
        one.release()
    return not is_free


def _hold(path: Path, held: list[Any], *, patience: float = 0.0) -> bool:
    """Lock a file, which is made if need be, and add the lock to ``held``.

    :param patience: seconds to wait for another process's.
    :return: False if another process has it still. A disk without locks gives them to everybody.
    :raises OSError: if the file cannot be made.
    """
    from filelock import FileLock, Timeout  # comes with torch, which Slicer may not have yet

    lock = FileLock(path, timeout=patience, mode=0o644)
    try:
        lock.acquire(poll_interval=0.2)
    except Timeout:
        return False
    except NotImplementedError:
        path.touch()
        return True
    held.append(lock)
    return True
