"""What a training needs of the machine, before a file is read: processors and memory."""

import logging
import os
from contextlib import suppress
from math import prod
from typing import Any

import torch
from torch import Tensor

from MorseCore.network import Network
from MorseCore.store.metadevice import shapes_only
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.devices import describe_device, resolve_precision
from MorseCore.system.memory import check_memory, physical_memory
from MorseCore.training.config import RunConfig

__all__ = ["check_needs", "saved_bytes", "step_bytes"]

log = logging.getLogger(__name__)
_MOST_TENSORS = 20_000  # of a network
_STATES = {"adamw": 2, "adam": 2, "sgd": 1}  # numbers that an optimiser keeps of each parameter
_HIDDEN = 100  # at most so many times the backbone's maps are kept for the gradient
_PER_CORE = 4  # processes that prepare samples


def check_needs(config: RunConfig, device: torch.device, accepted: Acceptance) -> None:
    """Refuse a training that does not fit into the memory at all.

    The parameters with their gradients, and what the backbone keeps of a batch to compute them, are
    counted exactly, on tensors without values; what the head needs comes on top.

    :param accepted: refusals to overrule (``memory``).
    :raises ConfigError: if a window does not suit the network, or it has far too many layers.
    :raises DeviceError: if more memory is needed than there is.
    """
    cores = os.cpu_count() or 1
    if config.data.workers > _PER_CORE * cores:
        log.warning(
            "data.workers=%d on %d processors: fewer would be as quick", config.data.workers, cores
        )
    with shapes_only(most=_MOST_TENSORS):
        network = config.network.build(num_classes=2)
    windows = [config.preparation.window_size]
    windows += [part.window[::-1] for part in config.generation.windows]
    for window in windows:
        network.check_size(window, what="'preparation.window'")
    total = _memory_of(device)
    needed = max(_needed(config, network, device, window, total) for window in windows)
    owner = describe_device(device) if device.type == "cuda" else "the machine"
    check_memory(
        needed, accepted, total=total, owner=owner,
        advice="choose a smaller optimisation.batch_size (and a larger optimisation.accumulate), "
        "preparation.window or network",
    )  # fmt: skip


def step_bytes(config: RunConfig, device: torch.device, *, num_classes: int) -> int:
    """Bytes that a step takes at least: parameters, gradients and what the backbone keeps."""
    with shapes_only(most=_MOST_TENSORS):
        network = config.network.build(num_classes=num_classes)
    return _needed(config, network, device, config.preparation.window_size, 0)


def saved_bytes(network: Network, window: tuple[int, ...], channels: int = 1) -> int:
    """What the backbone of a network without values keeps of one image for its gradient.

    :param window: size of the image, array order.
    :param channels: of the image.
    """
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, Tensor] = {}  # of each piece of memory one tensor, which keeps it alive

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    def stop(*_: Any) -> None:
        raise _BackboneDone

    hook = network.backbone.register_forward_hook(stop)  # heads look at values, which are not there
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.enable_grad(), hooks, suppress(_BackboneDone):
        network.train()(torch.empty((1, channels, *window), device="meta"))
    hook.remove()
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


class _BackboneDone(Exception):
    """What follows is not looked at."""


def _needed(
    config: RunConfig,
    network: Network,
    device: torch.device,
    window: tuple[int, ...],
    total: int | None,
) -> int:
    """Bytes that a step takes at least.

    :param total: bytes of memory; where they are many, the rest is not counted. 0: all is counted.
    """
    options, batch = config.optimisation, config.optimisation.batch_size
    numbers = 2 + _STATES[options.optimizer] + bool(options.average)  # weight, gradient, …
    parameters = 4 * numbers * sum(p.numel() for p in network.parameters())
    channels = config.network.in_channels
    fixed = parameters + batch * prod(window) * (4 * channels + 8)  # image, labels
    spec = network.backbone.spec
    pairs = zip(spec.channels, spec.strides, strict=True)
    maps = 4 * batch * sum(c * prod(window) // s ** len(window) for c, s in pairs)
    if total is None or 0 < total < fixed or fixed + _HIDDEN * maps < total:
        return fixed
    # Walking through the network takes torch three seconds, once: only where it may matter.
    half = 1 if resolve_precision(device, options.precision) == "fp32" else 2
    return fixed + batch * saved_bytes(network, window, channels) // half


def _memory_of(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return physical_memory()
