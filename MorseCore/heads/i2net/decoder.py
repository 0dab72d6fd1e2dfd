"""The network that answers points in I²Net: I²Layers and the implicit gate that they share.

``B`` batch, ``P`` points, ``Z`` length of a latent code, ``K`` pattern learners, ``O`` outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.heads.i2net.layer import I2Layer, LayerRecord
from MorseCore.heads.parts.pointwise import PointNorm

__all__ = ["Decoded", "I2Decoder", "ImplicitGate"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """An :class:`I2Decoder`'s answer to codes, and how it came about."""

    values: Tensor
    """(B, P, O)."""
    log_gates: Tensor
    """log g, (B, P, K)."""
    records: tuple[LayerRecord, ...]
    """One a layer, for L_lo; none unless there is a gradient to compute and K > 1."""


class ImplicitGate(nn.Module):
    """g(p) = softmax(INR(p, F; Theta_g)): a plain INR on the same latent code (I²Net, gate)."""

    def __init__(self, inputs: int, widths: Sequence[int], *, learners: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise((inputs, *widths)):
            layers += [nn.Linear(a, b), PointNorm(b), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*layers)
        self.predict = nn.Linear(widths[-1] if widths else inputs, learners)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, P, Z) -> log g, (B, P, K), float32 under autocast."""
        logits: Tensor = self.predict(self.hidden(codes))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


class I2Decoder(nn.Module):
    """f_Theta(p) (I²Net): I²Layers with batch normalisation and ReLU after all but the last.

    The gate g(p) is evaluated once a point and serves all layers. With K = 1 there is none, and the
    layers are linear layers: the static INR of IFA.

    :param widths: outputs of each layer; the last is O.
    :param gate_widths: hidden layers of the gate.
    """

    def __init__(
        self, inputs: int, widths: Sequence[int], *, gate_widths: Sequence[int], learners: int
    ) -> None:
        super().__init__()
        self.gate = ImplicitGate(inputs, gate_widths, learners=learners) if learners > 1 else None
        self.layers = nn.ModuleList(
            I2Layer(a, b, learners=learners) for a, b in pairwise((inputs, *widths))
        )
        self.norms = nn.ModuleList(PointNorm(width) for width in widths[:-1])

    def log_gates(self, codes: Tensor) -> Tensor:
        """log g of codes (B, P, Z) -> (B, P, K)."""
        if self.gate is None:
            return torch.zeros_like(codes[..., :1])
        log_gates: Tensor = self.gate(codes)
        return log_gates

    def forward(self, codes: Tensor) -> Decoded:
        """Answer codes (B, P, Z)."""
        log_gates = self.log_gates(codes)
        gates = log_gates.exp() if self.gate is not None else None
        records = []
        x = codes
        for n, layer in enumerate(self.layers):
            y = layer(x, gates)
            if gates is not None and torch.is_grad_enabled() and y.requires_grad:
                records.append(LayerRecord(x, gates, y))
            x = functional.relu(self.norms[n](y)) if n < len(self.norms) else y
        return Decoded(x, log_gates, tuple(records))
