"""Trainable Fourier features of a coordinate (MORSE Eq. 3)."""

import math

import torch
from torch import Tensor, nn

__all__ = ["FourierEncoding"]


class FourierEncoding(nn.Module):
    """psi(p) = [sin(2 pi W x~), cos(2 pi W x~)] with a *trainable* matrix W, MORSE Eq. 3.

    W starts as N(0, sigma^2). The paper leaves the variance open; 1 is Implicit PointRend's and
    gives about one cycle in half an image. (The released code overwrites the Gaussian draw by
    Uniform[0, 1) and registers it as a buffer, so that it is neither Gaussian nor trained.)

    :param frequencies: L, giving 2L features.
    """

    def __init__(self, spatial_dims: int, frequencies: int, *, sigma: float = 1.0) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(sigma * torch.randn(spatial_dims, frequencies))

    def forward(self, coords: Tensor) -> Tensor:
        """(B, P, D) in [-1, 1] -> (B, P, 2L)."""
        phase = 2 * math.pi * (coords @ self.frequencies)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
