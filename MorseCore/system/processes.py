"""This process among others: it ends with the one that started it, and says what memory it took."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["end_with_parent", "oom_kills", "peak_memory", "usable_cores"]

_PAUSE = 1.0  # seconds between two looks for the parent
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SYNCHRONIZE, _FOR_EVER = 0x00100000, 0xFFFFFFFF  # winnt.h, winbase.h
_PROC = Path("/proc")


def end_with_parent() -> None:
    """Let this process end soon after the one that started it, whatever it is doing then.

    A pipe that the parent holds tells the same by its end, but not if a third process has inherited
    the pipe. A thread that looks for the parent is held up by native code that does not let go of
    the interpreter; then Linux ends this process, if it was started by its parent's main thread.
    """
    if sys.platform == "win32":
        handle = _windows_parent()
        if handle is not None:
            _watch(lambda: _windows_wait(handle))
        return
    parent = os.getppid()
    if parent == 1:  # what starts all others; its end is the system's
        return
    if sys.platform.startswith("linux") and _is_child_of_main_thread(parent):
        # Not if another thread started us: Linux means that thread, which may end much earlier.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _watch(lambda: _wait_for_another(parent))


def peak_memory() -> int | None:
    """The most bytes of main memory that this process has held; None where the system does not say.

    ``ru_maxrss`` of a process that was forked begins with its parent's peak, which exec keeps;
    Linux's VmHWM begins anew at exec.
    """
    if sys.platform == "win32":
        return _windows_peak()
    kib = _number_in(_PROC / "self" / "status", "VmHWM:")
    if kib is not None:
        return 1024 * kib
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def oom_kills() -> int | None:
    """How many programs the system has ended since its start as memory ran short; None: unknown.

    Linux counts them, for the whole machine.
    """
    return _number_in(_PROC / "vmstat", "oom_kill ")


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than there are."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number_in(path: Path, name: str) -> int | None:
    """The number behind a name that begins a line of a file of /proc."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
    except (OSError, ValueError, IndexError):  # not Linux
        return None


def _watch(wait: Any) -> None:
    def run() -> None:
        wait()
        os._exit(0)

    threading.Thread(target=run, name="parent", daemon=True).start()


def _wait_for_another(parent: int) -> None:
    """Until this process is the child of another one, which is told when its parent ends."""
    while os.getppid() == parent:
        time.sleep(_PAUSE)


def _is_child_of_main_thread(parent: int) -> bool:
    try:
        listed = (_PROC / str(parent) / "task" / str(parent) / "children").read_text("ascii")
    except OSError:  # of another user, or a kernel without these lists
        return False
    return str(os.getpid()) in listed.split()


def _windows_parent() -> Any:
    """A handle to wait for the parent with; None if the system gives none."""
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    return kernel.OpenProcess(_SYNCHRONIZE, False, os.getppid()) or None


def _windows_wait(handle: Any) -> None:
    # The interpreter goes on meanwhile.
    ctypes.windll.kernel32.WaitForSingleObject(  # type: ignore[attr-defined]
        ctypes.c_void_p(handle), _FOR_EVER
    )


class _WindowsCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS."""

    _fields_ = [
        ("size", ctypes.c_uint32), ("faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in (
            "peak", "now", "peak_paged_quota", "paged_quota", "peak_quota", "quota", "pagefile",
            "peak_pagefile",
        )),
    ]  # fmt: skip


def _windows_peak() -> int | None:
    counters = _WindowsCounters(size=ctypes.sizeof(_WindowsCounters))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    has_told = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
    return int(counters.peak) if has_told else None
