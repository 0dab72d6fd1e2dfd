"""Writing files so that a reader never meets half of one."""

import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from MorseCore.errors import OutputError
from MorseCore.signals import uninterrupted

__all__ = [
    "atomic_path",
    "output_error",
    "prepare_output_directory",
    "printable",
    "replace_patiently",
    "sha256",
    "write_json",
    "write_text",
]

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
    """A file name that any file can hold: bytes that are no UTF-8 become escapes like \\xff."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
