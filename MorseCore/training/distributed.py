"""One process or many: what ``torchrun`` tells, wrapped so that the loop need not care."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from MorseCore.errors import ConfigError, DeviceError, MorseError
from MorseCore.system.devices import has_gpu, resolve_device

__all__ = ["ALONE", "World", "join_world"]

T = TypeVar("T")
_PATIENCE = timedelta(hours=1)  # torch's 10 minutes are less than one may wait for a validation


@dataclass(frozen=True)
class World:
    """This process's place among all.

    What has several processes in it (``total``, ``mean``, ``any``, ``copy_from_main``, ``wait``)
    must be called by all of them, in the same order.

    :raises MorseError: if another process has ended or does not answer.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share_of(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of a list that all have."""
        return items[self.rank :: self.size]

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, on the tensor's own device."""
        if self.size == 1:
            return value
        shared = value.detach().clone().to(self.device)  # NCCL knows GPUs only
        with _together():
            distributed.all_reduce(shared)
        return shared.to(value.device)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        return self.total(value) / self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any process."""
        return bool(self.total(torch.tensor(float(flag))) > 0)

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors on ``device`` by those of the main process."""
        if self.size > 1:
            with _together(), torch.no_grad():
                for tensor in tensors:
                    distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            with _together():
                distributed.barrier()

    def leave(self) -> None:
        """End of the common work. Not for a process that failed: it would wait for the others."""
        if self.size > 1:
            distributed.destroy_process_group()


ALONE = World(0, 1, torch.device("cpu"))


def join_world(device: str, *, environment: Mapping[str, str] = os.environ) -> World:
    """Read the variables that ``torchrun`` sets (their names are torch's) and choose a device.

    :param device: ``auto``, ``cpu``, ``cuda`` or, for one process, ``cuda:N``; the processes on one
        machine take its GPUs in turn, by their LOCAL_RANK.
    :raises DeviceError: if a GPU is asked for and absent, or the processes cannot find each other.
    :raises ConfigError: if the variables are no numbers that fit together.
    """
    rank, size, local = (
        _number(environment, name, fallback)
        for name, fallback in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if not 0 <= rank < size:
        raise ConfigError(f"RANK must lie between 0 and WORLD_SIZE - 1; found {rank} of {size}.")
    if size == 1:
        return World(rank, size, resolve_device(device))
    chosen = _device_of(device, local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # NCCL's collectives take the current device
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, rank=rank, world_size=size, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise DeviceError(
            f"Process {rank} of {size} cannot join the others; start them by torchrun ({error})."
        ) from error
    return World(rank, size, chosen)


def _device_of(device: str, local: int) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(
            f"With several processes the device is auto, cpu or cuda; not '{device}'."
        )
    if device == "cpu" or not has_gpu():
        return resolve_device(device)
    # Not `auto` or `cuda` by name: that would try the GPUs of the other processes, too.
    if local >= torch.cuda.device_count():
        raise DeviceError(
            f"Process {local} of this machine needs a GPU of its own, but there are "
            f"{torch.cuda.device_count()}; start fewer processes."
        )
    return resolve_device(f"cuda:{local}")


def _number(environment: Mapping[str, str], name: str, fallback: int) -> int:
    text = environment.get(name, str(fallback))
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"The variable {name} must be a number; found '{text}'.") from None


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's errors of communication are of this kind
        raise MorseError(
            "Another process of this run has ended or does not answer; its own message says why."
        ) from error
