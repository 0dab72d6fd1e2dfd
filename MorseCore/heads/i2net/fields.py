"""The fields of I²Net: interpolated from a grid, or decoded at each point.

``B`` batch, ``P`` points, ``D`` dimensions of space, ``K`` pattern learners, ``C`` classes.
"""

import torch
from torch import Tensor

from MorseCore.heads.i2net.decoder import Decoded, I2Decoder
from MorseCore.heads.parts.latents import LatentCodes
from MorseCore.heads.parts.pointhead import PointField
from MorseCore.heads.plain import PlainField
from MorseCore.points import sample_rows, to_rows

__all__ = ["I2GridField", "I2PointField"]


class I2GridField(PlainField):
    """Interpolated logits, and the gates by which they were made."""

    def __init__(
        self, values: Tensor, size: tuple[int, ...], *, gates: Tensor, decoded: Decoded | None
    ) -> None:
        super().__init__(values, size)
        self.decoded = decoded
        """What the INR answered at its grid, for the losses; None if made without gradients."""
        self._gates = gates

    def gates(self, coords: Tensor) -> Tensor:
        """g, interpolated between the grid's points: (B, P, D) -> (B, P, K), sums to one."""
        return sample_rows(to_rows(self._gates), self._gates.shape[2:], coords)

    def memory(self) -> int:
        return super().memory() + self._gates.nbytes


class I2PointField(PointField):
    """Logits of the INR at the point itself: INR(p, F; Theta(p)) of I²Net."""

    def __init__(self, decoder: I2Decoder, codes: LatentCodes, size: tuple[int, ...]) -> None:
        self.size, self.batch = size, codes.rows[0].shape[0]
        self._decoder, self._codes = decoder, codes

    @property
    def device(self) -> torch.device:
        return self._codes.rows[0].device

    def decode(self, coords: Tensor) -> tuple[Tensor, Decoded]:
        """Logits (B, P, C) of points (B, P, D), and how they came about."""
        decoded: Decoded = self._decoder(self._codes(coords))
        return self._codes.combine(decoded.values, coords), decoded

    def logits(self, coords: Tensor) -> Tensor:
        return self.decode(coords)[0]

    def gates(self, coords: Tensor) -> Tensor:
        """g: (B, P, D) -> (B, P, K), sums to one."""
        log_gates = self._decoder.log_gates(self._codes(coords))
        return self._codes.combine(log_gates.exp(), coords)

    def memory(self) -> int:
        return self._codes.memory()
