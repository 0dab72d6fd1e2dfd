"""Start a training from a model's weights, and say which of them fitted."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from MorseCore.errors import ConfigError, ModelError
from MorseCore.network import Network
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.training.config import RunConfig

__all__ = ["initialise", "load_initial", "with_warm_up"]

log = logging.getLogger(__name__)
_WARM_UP = 100  # steps, at most a tenth of the training


def initialise(network: Network, model: str) -> list[str]:
    """Copy a model's weights into a network, by name and shape.

    :param model: name or folder.
    :return: the network's weights that the model does not have; they keep their first values.
    :raises ConfigError: if there is no such model, it is damaged, or nothing of it fits.
    """
    return _copy(network, load_initial(model), model)


def load_initial(model: str) -> dict[str, Tensor]:
    """A model's weights.

    :param model: name or folder.
    :raises ConfigError: if there is no such model, or it is damaged.
    """
    try:
        folder = find_model(model)
        return load_network(folder, read_model(folder)).state_dict()
    except ModelError as error:
        raise ConfigError(f"'initialise': {error}") from None


def with_warm_up(config: RunConfig) -> RunConfig:
    """The configuration, with a short warm-up if it starts from a model and states none.

    A fresh optimiser knows nothing of its gradients yet and would take large steps away.
    """
    options = config.optimisation
    if not config.initialise or options.warmup:
        return config
    steps = min(_WARM_UP, options.iterations // 10)
    return replace(config, optimisation=replace(options, warmup=steps))


@torch.no_grad()
def _copy(network: Network, source: Mapping[str, Tensor], model: str) -> list[str]:
    target = network.state_dict()
    fitting = [n for n, value in target.items() if n in source and source[n].shape == value.shape]
    if not fitting:
        raise ConfigError(f"'initialise': no weight of '{model}' fits this network.")
    for name in fitting:
        target[name].copy_(source[name])
    fresh = [name for name in target if name not in fitting]
    unused = [name for name in source if name not in fitting]
    log.info("%d of %d weights start from '%s'", len(fitting), len(target), model)
    if fresh:
        log.info("not in it, or of another size, and therefore fresh: %s", _short(fresh))
    if unused:
        log.info("not reused: %s", _short(unused))
    return fresh


def _short(names: list[str]) -> str:
    """Names by the module they belong to, as few as say it."""
    modules = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return ", ".join(modules)
