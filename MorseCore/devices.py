"""Where to compute: what was asked for, or an error; never silently something else."""

import torch

from MorseCore.errors import DeviceError

__all__ = ["describe_device", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """``auto`` (the first CUDA GPU if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    :raises DeviceError: if the device is unknown or not there.
    """
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda:0" if has_cuda else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdigit()):
        raise DeviceError(f"The device must be auto, cpu, cuda or cuda:N; found '{name}'.")
    if not has_cuda:
        raise DeviceError(
            f"The device '{name}' was asked for, but this machine has no CUDA GPU that torch "
            f"{torch.__version__} can use; choose auto or cpu."
        )
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise DeviceError(
            f"The device '{name}' was asked for, but there are only {count} GPUs (from 0)."
        )
    return torch.device(f"cuda:{number or 0}")


def describe_device(device: torch.device) -> str:
    """For a report: the GPU's name and memory, or the CPU's threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"
