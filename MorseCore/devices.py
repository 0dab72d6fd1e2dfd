"""Where to compute: what was asked for, or an error; never silently something else."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from MorseCore.errors import DeviceError

__all__ = [
    "available_memory",
    "check_memory",
    "describe_device",
    "gpu_driver",
    "out_of_memory_explained",
    "physical_memory",
    "resolve_device",
]

_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")
_ASK_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_DRIVER_PATIENCE = 2.0  # seconds; a driver in trouble can keep nvidia-smi for minutes


def resolve_device(name: str) -> torch.device:
    """``auto`` (the first CUDA GPU if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    :raises DeviceError: if the device is unknown or not there.
    """
    has_cuda = torch.cuda.is_available()
    name = name.strip().lower()
    if name == "auto":
        return torch.device("cuda:0" if has_cuda else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
        raise DeviceError(f"The device must be auto, cpu, cuda or cuda:N; found '{name}'.")
    if not has_cuda:
        raise DeviceError(
            f"The device '{name}' was asked for, but this machine has no CUDA GPU that torch "
            f"{torch.__version__} can use; choose auto or cpu."
        )
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise DeviceError(
            f"The device '{name}' was asked for, but the GPUs are numbered 0 to {count - 1}."
        )
    return torch.device("cuda", int(number or 0))


def describe_device(device: torch.device) -> str:
    """For a report: the GPU's name and memory, or the CPU's threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"


def physical_memory() -> int | None:
    """Bytes of main memory; None where the system does not say (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def available_memory() -> int | None:
    """Bytes of main memory that programs could still take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        return None
    kib = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(kib[0]) if kib and kib[0].isdigit() else None


def gpu_driver() -> str:
    """Version of the graphics driver, or why there is none; torch does not know it."""
    if not torch.cuda.is_available():
        return "none in use"
    program = shutil.which(_ASK_DRIVER[0])
    if program is None:
        return "unknown: nvidia-smi is not there"
    try:
        answer = subprocess.run(
            [program, *_ASK_DRIVER[1:]], capture_output=True, check=True,
            stdin=subprocess.DEVNULL, timeout=_DRIVER_PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"unknown: nvidia-smi did not answer within {_DRIVER_PATIENCE:g} s"
    except subprocess.CalledProcessError as error:
        return f"unknown: nvidia-smi failed with exit code {error.returncode}"
    except OSError as error:
        return f"unknown: nvidia-smi could not be started ({error.strerror})"
    versions = answer.stdout.decode("utf-8", errors="replace").split()
    return ", ".join(dict.fromkeys(versions)) or "unknown: nvidia-smi said nothing"


def check_memory(needed: int) -> None:
    """Refuse a run whose results alone are larger than the main memory.

    :param needed: bytes.
    :raises DeviceError: naming both sizes.
    """
    total = physical_memory()
    if total is not None and needed > total:
        raise DeviceError(
            f"This run needs at least {needed / 2**30:.0f} GiB of memory and the machine has "
            f"{total / 2**30:.0f} GiB; choose a region of interest or a smaller scale."
        )


@contextmanager
def out_of_memory_explained(device: torch.device) -> Iterator[None]:
    """Turn a lack of memory into a sentence that says what to do.

    :raises DeviceError: instead of torch's and Python's own errors.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _MEMORY.search(str(error)):
            raise
        raise DeviceError(
            f"The memory of {describe_device(device)} is too small for this run; "
            "choose a region of interest, a smaller scale or another device."
        ) from error
