"""What every backbone hands to every head: decoder maps from coarse to fine."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Pyramid", "PyramidSpec"]


@dataclass(frozen=True)
class PyramidSpec:
    """Shape of a backbone's maps, known before any image is seen."""

    spatial_dims: int
    channels: tuple[int, ...]
    """Channels of each map, coarse to fine."""
    strides: tuple[int, ...]
    """Stride of each map against the input, coarse to fine."""
    divisor: int
    """Every side of the input must be a multiple of this."""


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Decoder maps of a batch of images."""

    levels: tuple[Tensor, ...]
    """(B, C_l, *S / stride_l) each, coarse to fine."""
    size: tuple[int, ...]
    """S of the input image, array order."""
