"""What every backbone hands to every head: maps from coarse to fine, of a decoder if it has one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor, nn

from MorseCore.errors import ConfigError

__all__ = ["Backbone", "BackboneConfig", "Pyramid", "PyramidSpec"]


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
    fixed_size: tuple[int, ...] | None = None
    """The only size of input that will do, array order; None: any that ``divisor`` allows."""
    is_encoder: bool = False
    """Whether the maps are an encoder's, without a decoder: the finest one is then made by the
    first layers alone, and no classifier of it trains the others."""
    image_channels: int = 1
    """Channels of the image, for a head that reads it beside the maps."""

    def coarsened(self, stride: int) -> "PyramidSpec":
        """The same maps, described for an image that is ``stride`` times finer than the input."""
        fixed = self.fixed_size
        return replace(
            self, strides=tuple(n * stride for n in self.strides), divisor=self.divisor * stride,
            fixed_size=None if fixed is None else tuple(n * stride for n in fixed),
        )  # fmt: skip

    def check_size(self, size: Sequence[int], *, what: str) -> None:
        """Refuse an input of this size, called ``what`` in the message.

        :raises ConfigError: if a side is no multiple of :attr:`divisor` or the size is not the
            backbone's only one.
        """
        if any(n % self.divisor for n in size):
            raise ConfigError(
                f"Every side of {what} must be a multiple of {self.divisor} for this backbone; "
                f"found {tuple(size)}."
            )
        if self.fixed_size is not None and tuple(size) != self.fixed_size:
            raise ConfigError(
                f"The size of {what} must be the backbone's 'image_size' {self.fixed_size}; "
                f"found {tuple(size)}."
            )


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Decoder maps of a batch of images."""

    levels: tuple[Tensor, ...]
    """(B, C_l, *S / stride_l) each, coarse to fine."""
    size: tuple[int, ...]
    """S of the input image, array order."""
    to_source: Tensor | None = None
    """(B, D, D + 1) affine map from coordinates in this image (a crop, a window) to coordinates in
    the image it was cut from, both in [-1, 1] and (x, y[, z]); the image is the whole if None.
    Only SwIPE's source coordinate p^S asks for it."""


class Backbone(nn.Module, ABC):
    """Image in, pyramid out. Network, trainer and predictor know no more of a backbone."""

    spec: PyramidSpec
    """Shape of the maps; set by the constructor."""

    @abstractmethod
    def forward(self, image: Tensor) -> Pyramid:
        """(B, C_in, *S), of a size that :attr:`spec` allows -> maps of the whole batch."""


class BackboneConfig(Protocol):
    """Options of a backbone: a frozen dataclass that builds it."""

    def build(self, *, in_channels: int, spatial_dims: int) -> Backbone:
        """The network, with weights as at the start of a training."""
        ...
