"""How the worker is started, how it is ended, and what to tell a person when it ends by itself."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from MorseCore.service.failures import INTERPRETER, describe_end
from MorseCore.service.supervisor import NO_WINDOW, WorkerCommand

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


@dataclass(frozen=True)
class Failure:
    """Why a request has no result."""

    message: str
    """One sentence for a person, with what to do."""
    detail: str = ""
    kind: str = "WorkerError"
    """The error's class; ``Cancelled`` if a person asked for it."""
    accept: str = ""
    """The name by which a person who knows better overrules it; empty if nobody can."""


CANCELLED = Failure("Cancelled; nothing was changed.", kind="Cancelled")
"""What a person hears who asked for it."""


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


def describeEnd(
    code: int,
    *,
    signalled: bool,
    started: bool,
    errors: str,
    peak: int | None = None,
    oomKills: int | None = None,
) -> Failure:
    """What to say about a worker that ended although a request was open.

    :param code: exit code, or the number of the signal that ended it.
    :param started: whether it had said that it is ready.
    :param errors: the last lines it wrote to stderr.
    :param peak: bytes of memory that it held at most, as far as it has told.
    :param oomKills: how many programs the system ended meanwhile because memory ran short.
    """
    end = describe_end(
        code, signalled=signalled, started=started, errors=errors, peak=peak, oom_kills=oomKills
    )
    return Failure(end.message, end.detail, end.kind)
