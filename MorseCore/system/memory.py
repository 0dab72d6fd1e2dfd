"""Main memory, and what to say when it, or a GPU's, is too small for a run."""

import ctypes
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from MorseCore.errors import DeviceError
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.devices import describe_device

__all__ = [
    "available_memory", "check_memory", "free_gpu_memory", "gigabytes", "is_out_of_memory",
    "memory_limited", "out_of_memory_explained", "physical_memory", "release_gpu_memory",
]  # fmt: skip

# torch's, and how cuBLAS and cuDNN say it
_MEMORY = re.compile(
    "out of memory|can't allocate memory|not enough memory|_STATUS_ALLOC_FAILED"
    "|[Nn]o valid execution plans|[Uu]nable to find a valid cuDNN algorithm"
)


_USED = 0.95  # of the memory that is free; the rest is for what does not ask


class _WindowsMemory(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32), ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in (
            "total", "available", "total_paged", "available_paged", "total_virtual",
            "available_virtual", "available_extended",
        )),
    ]  # fmt: skip


def physical_memory() -> int | None:
    """Bytes of main memory; None where the system does not say."""
    if sys.platform == "win32":
        status = _windows_memory()
        return None if status is None else int(status.total)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def available_memory() -> int | None:
    """Bytes of main memory that programs could still take; None where the system does not say."""
    if sys.platform == "win32":
        status = _windows_memory()
        return None if status is None else int(status.available)
    return _meminfo("MemAvailable")


def _meminfo(name: str) -> int | None:
    """A number of bytes that Linux tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        return None
    kib = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(kib[0]) if kib and kib[0].isdigit() else None


def _windows_memory() -> _WindowsMemory | None:
    status = _WindowsMemory(length=ctypes.sizeof(_WindowsMemory))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    return status if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def check_memory(
    needed: int,
    accepted: Acceptance | None = None,
    *,
    advice: str = "choose a region of interest or a smaller scale",
    total: int | None = None,
    owner: str = "the machine",
) -> list[str]:
    """Refuse a run that needs more memory for its results alone than there is.

    :param needed: bytes.
    :param accepted: refusals to overrule (``memory``); None where nobody can.
    :param advice: what to do instead.
    :param total: bytes of memory, where it is not the main memory; ``owner``: whose it is.
    :return: sentences for the report.
    :raises DeviceError: naming both sizes.
    """
    total = total or physical_memory()
    if total is None or needed <= total:
        return []
    error = DeviceError(
        f"This run needs at least {gigabytes(needed)} of memory and {owner} has "
        f"{gigabytes(total)}; {advice}."
    )
    if accepted is None:
        raise error
    return [accepted.refuse("memory", error)]


def gigabytes(size: int) -> str:
    """A number of bytes, for a sentence."""
    return f"{size / 2**30:,.0f} GiB" if size >= 10 * 2**30 else f"{size / 2**30:.1f} GiB"


@contextmanager
def memory_limited(device: torch.device, accepted: Acceptance) -> Iterator[None]:
    """Meanwhile this process gets no more memory than is free now, if it computes on the CPU.

    What asks for more fails and can be explained. Linux would give it, and then end this program,
    or another one, without a word; other systems refuse by themselves.

    :param accepted: ``memory`` leaves it to the system.
    """
    if device.type != "cpu" or "memory" in accepted.names:
        yield
        return
    _LIMIT.hold()
    try:
        yield
    finally:
        _LIMIT.release()


class _Limit:
    """Of the whole process, as the system has it; the first thread sets, the last restores it."""

    def __init__(self) -> None:
        self._lock, self._holders = threading.Lock(), 0
        self._before: tuple[int, int] | None = None

    def hold(self) -> None:
        """Set the limit, if nobody has."""
        with self._lock:
            self._holders += 1
            free = available_memory()
            if self._holders > 1 or free is None or not sys.platform.startswith("linux"):
                return
            import resource

            swap = _meminfo("SwapFree") or 0
            pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
            held = int(pages[5]) * os.sysconf("SC_PAGE_SIZE")  # data and stack
            before, hard = resource.getrlimit(resource.RLIMIT_DATA)
            wanted = held + int(_USED * (free + swap))
            known = [n for n in (wanted, before, hard) if n != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
            self._before = before, hard

    def release(self) -> None:
        """Restore what was, if nobody else needs it."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self._before is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_DATA, self._before)
                self._before = None


_LIMIT = _Limit()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, of its libraries or of Python means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_MEMORY.search(str(error)))


@contextmanager
def out_of_memory_explained(device: torch.device) -> Iterator[None]:
    """Turn a lack of memory into a sentence that says what to do.

    :raises DeviceError: instead of torch's and Python's own errors.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"The memory of {describe_device(device)} is too small for this run; "
            "choose a region of interest, a smaller scale or another device."
        ) from error


def free_gpu_memory(device: torch.device) -> int | None:
    """Bytes of a GPU's memory that can still be had; None for the CPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + held


def release_gpu_memory() -> None:
    """Give back what torch keeps of the GPU's memory for later: others draw with that GPU."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
