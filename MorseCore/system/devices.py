"""Where to compute, and in which precision."""

import logging
import shutil
import subprocess
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

from MorseCore.errors import DeviceError

__all__ = [
    "Precision",
    "autocast",
    "choose_precision",
    "describe_device",
    "gpu_driver",
    "has_gpu",
    "resolve_device",
    "resolve_precision",
    "why_unusable",
]

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


Precision = Literal["auto", "fp32", "bf16", "fp16"]
_AMPERE = (8, 0)  # compute capability from which bf16 is computed in hardware


def choose_precision(
    precision: Precision,
    *,
    kind: str,
    capability: tuple[int, int] | None = None,
    has_amx: bool = False,
) -> Precision:
    """What ``auto`` means on a device; any other wish is granted.

    bf16 only where the hardware multiplies matrices of it: on a CPU with AMX a training step took
    half the time of float32, on one without 30 times as long.
    fp32 is torch's: on GPUs from Ampere on its convolutions round their factors to TF32, unless
    ``torch.backends.cudnn.allow_tf32`` is switched off.

    :param kind: ``cuda`` or ``cpu``.
    :param capability: compute capability of a GPU.
    :param has_amx: whether a CPU has matrix units for bf16.
    """
    if precision != "auto":
        return precision
    if kind == "cpu":
        return "bf16" if has_amx else "fp32"
    if kind != "cuda":
        return "fp32"
    return "bf16" if capability is not None and capability >= _AMPERE else "fp16"


def resolve_precision(device: torch.device, precision: Precision) -> Precision:
    """:func:`choose_precision` for a device of this machine."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    return choose_precision(
        precision, kind=device.type, capability=capability, has_amx=_has_amx()
    )  # fmt: skip


@cache
def _has_amx() -> bool:
    """Whether torch finds Intel's matrix units for bf16; older torch does not tell."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") and capabilities.get("amx_tile"))


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products run in the resolved precision."""
    resolved = resolve_precision(device, precision)
    if resolved == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if resolved == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)
