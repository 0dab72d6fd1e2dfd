"""How the worker is started, how it is ended, and what to tell a person when it ends by itself."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from MorseCore.service.failures import INTERPRETER, missing_package

__all__ = [
    "CANCELLED", "NO_WINDOW", "Failure", "WorkerCommand", "describeEnd", "killProcess",
    "workerCommand",
]  # fmt: skip

SCRIPT = Path(__file__).resolve().parents[2] / "Scripts" / "worker.py"

# Slicer's own would make another Python load Slicer's packages, or none.
_OF_SLICER = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "QT_PLUGIN_PATH",
)  # fmt: skip
_KILLED = 9
_BY_LAUNCHER = "exit abnormally"  # Slicer's launcher turns any crash of its program into code 1

NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows opens a console for a program that a windowed one starts."""


@dataclass(frozen=True)
class Failure:
    """Why a request has no result."""

    message: str
    """One sentence for a person, with what to do."""
    detail: str = ""
    kind: str = "WorkerError"
    """The error's class; ``Cancelled`` if a person asked for it."""


CANCELLED = Failure("Cancelled; nothing was changed.", kind="Cancelled")
"""What a person hears who asked for it."""


@dataclass(frozen=True)
class WorkerCommand:
    """A program, its arguments, and the variables that it must not inherit."""

    program: str
    arguments: tuple[str, ...]
    withoutVariables: tuple[str, ...] = ()


def workerCommand(interpreter: str = "") -> WorkerCommand:
    """The worker under Slicer's own Python, or under another one that has torch.

    The script is named by its absolute path: whether ``-m MorseCore`` is found depends on how
    the extension was installed.

    :param interpreter: of another Python; else the environment's ``MORSESEGMENT_PYTHON``, if set.
    """
    own = shutil.which("PythonSlicer") or sys.executable or _besideLibraries()
    program = interpreter or os.environ.get(INTERPRETER, "") or own
    isOwn = Path(program) == Path(own)
    # Its words come as UTF-8, which they would not on Windows.
    arguments = ("-X", "utf8", "-u", str(SCRIPT))
    return WorkerCommand(program, arguments, () if isOwn else _OF_SLICER)


def _besideLibraries() -> str:
    """The interpreter that belongs to this Python's libraries, where nothing else names one."""
    home = Path(sys.base_prefix)
    names = ("python.exe", "bin/python3", "bin/python", "bin/PythonSlicer", "bin/python-real")
    return next((str(home / name) for name in names if (home / name).is_file()), "")


def killProcess(pid: int) -> None:
    """End a process and its children now; nothing happens if it has ended."""
    if os.name == "nt":
        command = ["taskkill", "/F", "/T", "/PID", str(pid)]
        subprocess.run(command, capture_output=True, check=False, creationflags=NO_WINDOW)
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def describeEnd(code: int, *, signalled: bool, started: bool, errors: str) -> Failure:
    """What to say about a worker that ended although a request was open.

    :param code: exit code, or the number of the signal that ended it.
    :param started: whether it had said that it is ready.
    :param errors: the last lines it wrote to stderr.
    """
    detail = f"{'signal' if signalled else 'exit code'} {code}\n{errors}"
    missing = [line for line in errors.splitlines() if line.startswith("ModuleNotFoundError")]
    if missing and not started:
        name = missing[-1].split("'")[1] if "'" in missing[-1] else "?"
        return Failure(missing_package(name), detail, "MissingPackage")
    crashed = code == 1 and _BY_LAUNCHER in errors
    if crashed or (signalled and code == _KILLED) or code == 128 + _KILLED:
        return Failure(
            "The computation was ended by the system, most likely because memory ran out; "
            "choose a region of interest or a lower quality.",
            detail,
        )
    if not started:
        return Failure(
            f"The worker could not be started (exit code {code}); copy the report under "
            "Environment and look at the details.",
            detail,
        )
    return Failure(
        f"The worker ended unexpectedly ({'signal' if signalled else 'exit code'} {code}); press "
        "Segment to start it again, with the CPU as the device if it happens again.",
        detail,
    )
