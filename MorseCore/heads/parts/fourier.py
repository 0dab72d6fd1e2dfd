"""Fourier features of a coordinate: MORSE Eq. 3, and the fixed ones of I²Net and SwIPE."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from MorseCore.errors import ConfigError

__all__ = ["Encoding", "FourierEncoding", "sinusoids"]

Encoding = Literal["trainable", "gaussian_fixed", "uniform_fixed"]


class FourierEncoding(nn.Module):
    """psi(p) = [sin(2 pi W x~), cos(2 pi W x~)], MORSE Eq. 3.

    ``trainable``, the paper: W starts as N(0, sigma^2) and is trained. The paper leaves the
    variance open; 1 is Implicit PointRend's and gives about one cycle in half an image.
    ``gaussian_fixed``, Implicit PointRend: the same draw, kept. ``uniform_fixed``, the released
    code of MORSE: it overwrites the Gaussian draw by Uniform[0, 1) and registers it as a buffer, so
    that W is neither Gaussian nor trained, and all its directions lie in one quadrant (octant).

    :param frequencies: L, giving 2L features.
    :param sigma: standard deviation; without meaning for ``uniform_fixed``.
    """

    frequencies: Tensor
    """W: (D, L)."""

    def __init__(
        self,
        spatial_dims: int,
        frequencies: int,
        *,
        sigma: float = 1.0,
        kind: Encoding = "trainable",
    ) -> None:
        super().__init__()
        if kind not in get_args(Encoding):
            raise ConfigError(f"There is no positional encoding '{kind}'.")
        self.channels = 2 * frequencies
        if kind == "uniform_fixed":
            self.register_buffer("frequencies", torch.rand(spatial_dims, frequencies))
            return
        draw = sigma * torch.randn(spatial_dims, frequencies)
        if kind == "trainable":
            self.frequencies = nn.Parameter(draw)
        else:
            self.register_buffer("frequencies", draw)

    def forward(self, coords: Tensor) -> Tensor:
        """(B, P, D) in [-1, 1] -> (B, P, 2L), in single precision also under autocast."""
        return torch.cat(self.parts(coords), dim=-1)

    def parts(self, coords: Tensor) -> list[Tensor]:
        """Sines and cosines, (B, P, L) each: whoever joins them to more copies them once."""
        # In half precision neighbouring positions would have one code: 8 bits tell 256 from one
        # another, and the phase runs through several turns.
        with torch.autocast(coords.device.type, enabled=False):
            phase = coords.float() @ (2 * math.pi * self.frequencies.float())
        return [phase.sin(), phase.cos()]


def sinusoids(x: Tensor, frequencies: int) -> Tensor:
    """sin and cos of 2^f x for ``frequencies`` values f evenly from 0 to 6, without a factor pi.

    The ``ultra_pe`` of I²Net's code, where the frequencies begin so and are trained; here they
    stay. SwIPE's released code gives p^P to the patch decoder so, too, of which its paper does not
    speak.

    :param x: (..., D).
    :return: (..., 2 * D * frequencies), all sines first; under autocast in x's own precision.
    """
    scale = 2 ** torch.linspace(0, 6, frequencies, device=x.device, dtype=x.dtype)
    phase = (x[..., None] * scale).flatten(-2)  # a product, not matmul, which autocast would round
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
