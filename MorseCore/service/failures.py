"""What the worker says of an error, whether it can go on after it, and what its own end tells."""

import os
import platform
import sys
import traceback
from typing import Any, NamedTuple

from MorseCore import __version__
from MorseCore.errors import MorseError
from MorseCore.system.files import printable

__all__ = [
    "INTERPRETER", "WorkerEnd", "describe_end", "error_event", "missing_package", "spoils_device",
]  # fmt: skip

INTERPRETER = "MORSESEGMENT_PYTHON"
"""Environment variable that names another Python than Slicer's for the worker."""

_BY_LAUNCHER = "exit abnormally"  # Slicer's launcher turns any crash of its program into code 1
_KILLED = 9
_SIGNALS = range(1, 65)
_SHELL = 128  # plus a signal: what shells and launchers make of it
_NT_ERROR = 0xC0000000  # Windows' codes of crashes begin here
_NO_MEMORY = "it got no more memory"
_FOREIGN = "it touched memory that is not its own"
_CRASHES = {
    4: "an instruction that this processor does not know",
    6: "a library gave up",
    7: "a part of its memory could not be read",
    8: "an impossible calculation",
    10: "a part of its memory could not be read",
    11: _FOREIGN,
    0xC0000005: _FOREIGN,
    0xC0000006: "a part of its memory could not be read",
    0xC0000017: _NO_MEMORY,
    0xC000001D: "an instruction that this processor does not know",
    0xC0000094: "an impossible calculation",
    0xC00000FD: "its calls went too deep",
    0xC000012D: _NO_MEMORY,
    0xC0000135: "a library is missing",
    0xC0000142: "a library could not begin",
    0xC0000409: "a library gave up",
}
"""By POSIX signal, and by Windows' code."""
_ASKED = {1: "its terminal was closed", 2: "by Ctrl-C", 15: "it was asked to end"}
_CPU = ", with the CPU as the device if it happens again"
_LESS = ", with a region of interest or a lower quality if memory is short"


def error_event(number: int | None, error: BaseException) -> dict[str, Any]:
    """The event ``error``: one sentence for a person, and the details for a report.

    :param number: of the request; None if it is not known.
    """
    kind = type(error).__name__
    if isinstance(error, MorseError):
        message = printable(str(error))
    elif isinstance(error, ModuleNotFoundError):
        kind = "MissingPackage"
        message = missing_package(error.name or "?")
    elif isinstance(error, MemoryError):
        message = "The memory is too small for this run; choose a region of interest."
    elif spoils_device(error):
        first = (str(error).strip().splitlines() or [kind])[0]
        message = (
            f"The GPU failed ({first}); try again, with the CPU as the device if it happens once "
            "more."
        )
    else:
        message = f"The worker met an unexpected problem ({kind}); see the details."
    detail = printable("".join(traceback.format_exception(error)))
    versions = f"MorseSegment {__version__}, Python {platform.python_version()}, {sys.platform}"
    event: dict[str, Any] = {
        "event": "error", "message": message, "kind": kind, "detail": f"{detail}\n{versions}"
    }  # fmt: skip
    if isinstance(error, MorseError) and error.plain:
        event["plain"] = printable(error.plain)
        event["accept"] = error.accept
    if isinstance(error, ModuleNotFoundError):
        event["package"] = error.name
    return event if number is None else {**event, "id": number}


def missing_package(name: str) -> str:
    """The sentence for a package that the worker's Python lacks."""
    if other := os.environ.get(INTERPRETER):  # not Slicer's, into which Install would put it
        return f"The Python package '{name}' is missing; install it: {other} -m pip install {name}"
    return f"The Python package '{name}' is missing; press Install under Environment."


def spoils_device(error: BaseException) -> bool:
    """Whether a GPU answers no more in this process: an illegal access, or it was lost.

    torch calls these ``AcceleratorError``; lack of memory is another error, and does no harm.
    """
    torch: Any = sys.modules.get("torch")
    kind = getattr(torch, "AcceleratorError", None)
    return kind is not None and isinstance(error, kind) and "out of memory" not in str(error)


class WorkerEnd(NamedTuple):
    """Why a worker that still had to answer is gone."""

    message: str
    """For a person."""
    detail: str
    """For a report."""
    kind: str
    """``MissingPackage``, ``WorkerKilled`` (from outside), ``WorkerCrashed`` or ``WorkerError``."""


def describe_end(
    code: int,
    *,
    signalled: bool,
    started: bool,
    errors: str,
    peak: int | None = None,
    oom_kills: int | None = None,
    again: str = "press Segment to start it again",
    look: str = "copy the report under Environment and look at the details",
) -> WorkerEnd:
    """What to say of a worker that ended although a request was open.

    Example::

        describe_end(-process.returncode, signalled=True, started=True, errors=last_lines).message
        # "The worker crashed (signal 11: it touched memory that is not its own); press …"

    :param code: exit code, or the number of the signal that ended it.
    :param signalled: whether it was a signal. Windows has none: its exit codes tell as much.
    :param started: whether it had said that it is ready.
    :param errors: the last lines that it wrote to stderr.
    :param peak: bytes of memory that it held at most, as far as it has told.
    :param oom_kills: how many programs the system ended meanwhile because memory ran short, by
        :func:`MorseCore.system.processes.oom_kills`; None if it does not count them.
    :param again: what a person does to try once more.
    :param look: what a person does if it could not be started.
    """
    number, name = _named(code, signalled=signalled)
    detail = f"{name}\n{errors}"
    missing = [line for line in errors.splitlines() if line.startswith("ModuleNotFoundError")]
    if missing and not started:
        package = missing[-1].split("'")[1] if "'" in missing[-1] else "?"
        return WorkerEnd(missing_package(package), detail, "MissingPackage")
    when = "" if started else " before it was ready"
    cause = _NO_MEMORY if "bad_alloc" in errors else _CRASHES.get(number, "")
    held = f" (it had held up to {peak / 2**30:.1f} GiB)" if peak else ""
    if number == _KILLED:
        kind, way = "WorkerKilled", "" if oom_kills == 0 else _LESS
        known = f"was ended from outside{when} ({name}), {_by_whom(oom_kills)}{held}"
    elif number in _ASKED:
        kind, way = "WorkerKilled", ""
        known = f"was ended from outside{when} ({name}: {_ASKED[number]})"
    elif code == 1 and _BY_LAUNCHER in errors:
        kind, way = "WorkerCrashed", _LESS
        known = f"crashed or was ended{when}; Slicer's launcher does not say which{held}"
    elif cause and number:
        kind, way = "WorkerCrashed", _LESS if cause == _NO_MEMORY else _CPU
        known = f"crashed{when} ({name}: {cause})"
    else:
        kind, way = "WorkerError", _CPU
        known = f"ended unexpectedly{when} ({name})"
    advice = f"{again}{way}" if started else look
    return WorkerEnd(f"The worker {known}; {advice}.", detail, kind)


def _named(code: int, *, signalled: bool) -> tuple[int, str]:
    """The signal, or Windows' code of a crash (0: it was neither), and what to call it."""
    unsigned = code & 0xFFFFFFFF  # as Windows means it; Qt has it with a sign
    if unsigned >= _NT_ERROR:
        return unsigned, f"exit code {unsigned:#010X}".replace("0X", "0x")
    if signalled:
        return code, f"signal {code}"
    if code - _SHELL in _SIGNALS:
        return code - _SHELL, f"exit code {code}, that is signal {code - _SHELL}"
    return 0, f"exit code {code}"


def _by_whom(oom_kills: int | None) -> str:
    """Who ends a program at once, as far as it can be known."""
    if oom_kills:
        programs = "one program" if oom_kills == 1 else f"{oom_kills} programs"
        return f"and meanwhile the system ended {programs} because memory ran short"
    if oom_kills == 0:
        return "by a person or another program: the system ended none because memory ran short"
    return "by a person, or by the system because memory ran short"
