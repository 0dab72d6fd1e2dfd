"""Building a network without memory, to look at its shapes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from MorseCore.errors import ConfigError

__all__ = ["shapes_only"]

_FILLS = (torch.Tensor.normal_, nn.init.normal_)
_PRODUCTS = (torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__)


_SPARE = 64  # parts beyond four a tensor: containers, activations, what is not stored


@contextmanager
def shapes_only(*, most: int | None = None) -> Iterator[None]:
    """Tensors that are made in this context have a shape and no values.

    :param most: tensors that the network can have; None: any number.
    :raises ConfigError: inside, once a network has many more parts than that: 65,536 layers take
        a long time to make, too.

    Example::

        with shapes_only():
            network = config.build(num_classes=3)
        network.load_state_dict(weights, assign=True)
    """
    with torch.device("meta"), _NothingDrawn(), _counted(most):
        yield


@contextmanager
def _counted(most: int | None) -> Iterator[None]:
    """Every layer and tensor that a module gets in this context counts."""
    if most is None:
        yield
        return
    limit, parts = 4 * most + _SPARE, count()

    def register(*_: Any) -> None:
        if next(parts) > limit:
            raise ConfigError(f"it has far more layers than there are tensors ({most:,}).")

    hooks = [
        register_module_module_registration_hook(register),
        register_module_parameter_registration_hook(register),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _NothingDrawn(TorchFunctionMode):
    """Leaves out what changes values alone: normal random numbers, and their scaling.

    On the meta device these are torch's Python references, which import its compiler at the first
    call: more than a second of processor time at every start of the program.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        if func in _PRODUCTS and isinstance(args[1], (int, float)):
            return args[0]
        if func is torch.randn:
            func = torch.empty
            kwargs.pop("generator", None)
        return func(*args, **kwargs)
