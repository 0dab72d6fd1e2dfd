"""Mixed precision: which kind the hardware is good at, and how it is switched on."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

__all__ = ["Precision", "autocast", "choose_precision", "resolve_precision"]

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
