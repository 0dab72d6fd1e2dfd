"""A running average of the weights: less noisy than the weights of the last step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential average of a network's parameters; buffers are always the network's own.

    After ``t`` updates the decay is the smaller of ``decay`` and ``t / (t + 9)``, so that the
    random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._parameters = dict(network.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of a step."""
        self._updates += 1
        share = 1 - min(self._decay, self._updates / (self._updates + 9))
        values = list(self._average.values())
        torch._foreach_lerp_(values, list(self._parameters.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the network has the average as its weights."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    def state_dict(self) -> dict[str, object]:
        """Tensors and plain values."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from :meth:`state_dict`.

        :raises KeyError: if it is of another network.
        """
        self._updates = int(state["updates"])  # type: ignore[call-overload]
        average: Mapping[str, Tensor] = state["average"]  # type: ignore[assignment]
        for name, value in self._average.items():
            value.copy_(average[name])

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
