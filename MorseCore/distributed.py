"""One process or many: what ``torchrun`` tells, wrapped so that the loop need not care."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from MorseCore.errors import DeviceError

__all__ = ["World", "join_world"]


@dataclass(frozen=True)
class World:
    """This process's place among all."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.size == 1:
            return value
        value = value.clone()
        distributed.all_reduce(value)
        return value / self.size

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        """End of the run."""
        if self.size > 1:
            distributed.destroy_process_group()


def join_world(device: str) -> World:
    """Read the variables that ``torchrun`` sets (their names are torch's) and choose a device.

    :param device: ``auto``, ``cpu`` or ``cuda``; several processes share out the GPUs of a machine.
    :raises DeviceError: if CUDA is asked for and absent.
    """
    rank = int(os.environ.get("RANK", "0"))
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    has_cuda = torch.cuda.is_available()
    if device.startswith("cuda") and not has_cuda:
        raise DeviceError(f"The device '{device}' was asked for, but this torch sees no CUDA GPU.")
    if device == "auto":
        device = "cuda" if has_cuda else "cpu"
    chosen = torch.device(f"cuda:{local}" if device == "cuda" else device)
    if size > 1:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(rank, size, chosen)
