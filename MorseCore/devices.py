"""Where to compute: what was asked for, or an error; never silently something else."""

import logging
import shutil
import subprocess
import warnings
from functools import cache

import torch

from MorseCore.errors import DeviceError

__all__ = ["describe_device", "gpu_driver", "has_gpu", "resolve_device", "why_unusable"]

log = logging.getLogger(__name__)

_ASK_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_NO_DRIVER = "no NVIDIA driver"  # torch's words on a computer without such a GPU
_DRIVER_PATIENCE = 2.0  # seconds; a driver in trouble can keep nvidia-smi for minutes


def resolve_device(name: str) -> torch.device:
    """``auto`` (the first CUDA GPU that computes, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    A GPU that is there but cannot be used (too old for this torch, full, taken by another program)
    is left out by ``auto`` with a warning.

    :raises DeviceError: if the device is unknown, not there or cannot be used.
    """
    name = name.strip().lower()
    if name == "auto":
        return _first_usable()
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
        raise DeviceError(f"The device must be auto, cpu, cuda or cuda:N; found '{name}'.")
    if not has_gpu():
        reason = f" ({_why_no_gpu()})" if _why_no_gpu() else ""
        raise DeviceError(
            f"The device '{name}' was asked for, but this machine has no CUDA GPU that torch "
            f"{torch.__version__} can use{reason}; choose auto or cpu."
        )
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise DeviceError(
            f"The device '{name}' was asked for, but the GPUs are numbered 0 to {count - 1}."
        )
    device = torch.device("cuda", int(number or 0))
    if reason := why_unusable(device):
        raise DeviceError(f"The device '{name}' cannot be used: {reason}")
    return device


def has_gpu() -> bool:
    """Whether torch sees a CUDA GPU; :func:`why_unusable` says whether one computes."""
    _why_no_gpu()  # torch gives its reason the first time only
    return torch.cuda.is_available()


def why_unusable(device: torch.device) -> str:
    """Why nothing can be computed on a GPU, in torch's words; empty if it can."""
    try:
        (torch.zeros(1, device=device) + 1).item()
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return ""


def _first_usable() -> torch.device:
    if not has_gpu():
        if _why_no_gpu() and _NO_DRIVER not in _why_no_gpu():
            log.warning("No GPU is used: %s", _why_no_gpu())
        return torch.device("cpu")
    for n in range(torch.cuda.device_count()):
        device = torch.device("cuda", n)
        reason = why_unusable(device)
        if not reason:
            return device
        log.warning("The GPU %s is left out: %s", device, reason)
    return torch.device("cpu")


@cache
def _why_no_gpu() -> str:
    """What torch warns of as it looks for GPUs, for instance a driver that is too old."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.is_available()
    return " ".join(str(warning.message).strip().splitlines()[0] for warning in caught)


def describe_device(device: torch.device) -> str:
    """For a report: the GPU's name and memory, or the CPU's threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"


def gpu_driver() -> str:
    """Version of the graphics driver, or why there is none; torch does not know it.

    Also where torch finds no GPU: a driver that is too old is the most frequent reason.
    """
    program = shutil.which(_ASK_DRIVER[0])
    if program is None:
        return "unknown: nvidia-smi is not there" if has_gpu() else "none in use"
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
