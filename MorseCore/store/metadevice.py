"""Building a network without memory, to look at its shapes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["shapes_only"]

_FILLS = (torch.Tensor.normal_, nn.init.normal_)
_PRODUCTS = (torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Tensors that are made in this context have a shape and no values.

    Example::

        with shapes_only():
            network = config.build(num_classes=3)
        network.load_state_dict(weights, assign=True)
    """
    with torch.device("meta"), _NothingDrawn():
        yield


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
