"""What a step of training compares a field with: labels, and points chosen beforehand."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Targets"]


class Targets(NamedTuple):
    """The reference of a batch. ``B`` batch, ``*S`` space, ``P`` points, ``D`` dimensions."""

    labels: Tensor
    """(B, *S) int64."""
    points: Tensor | None = None
    """(B, P, D) coordinates, (x, y[, z]) in [-1, 1], of the points that were drawn before the
    training and lie in the crop; None unless the sampler works with such."""
    shares: Tensor | None = None
    """(B, N, *S) uint8, labels at N places inside each pixel, whose frequencies are a soft label;
    None where a pixel is one class."""
