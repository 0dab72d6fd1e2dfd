"""What a training step is given: crops, their labels, and where they were cut."""

from typing import NamedTuple

import torch
from torch import Tensor

from MorseCore.targets import Targets

__all__ = ["Minibatch"]


class Minibatch(NamedTuple):
    """Samples of one step; also one sample, without B. ``*O`` crop, ``D`` its dimensions."""

    image: Tensor
    """(B, C_in, *O) float32."""
    labels: Tensor
    """(B, *O) int64."""
    to_source: Tensor
    """(B, D, D + 1) float32, from coordinates in the crop to those in the source image."""
    points: Tensor
    """(B, P, D) float32, coordinates in the crop of points drawn before training; P may be 0."""

    shares: Tensor = torch.empty(0, dtype=torch.uint8)
    """(B, N, *O) uint8, labels at N places inside each pixel: a soft label is how often each class
    is among them. N may be 0, which is also what an empty tensor means: each pixel is one class."""

    def to(self, device: torch.device) -> "Minibatch":
        """On a device."""
        return Minibatch(*(part.to(device, non_blocking=True) for part in self))

    @property
    def targets(self) -> Targets:
        """What the field is compared with."""
        return Targets(
            self.labels,
            self.points if self.points.shape[-2] else None,
            self.shares if self.shares.numel() else None,
        )
