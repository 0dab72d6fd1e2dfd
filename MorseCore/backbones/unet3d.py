"""The 3D-UNet of MORSE's volumetric experiments, in 3D or 2D."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import conv, max_pool
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError

__all__ = ["UNet3D", "UNet3DConfig"]


@dataclass(frozen=True)
class UNet3DConfig:
    """Sizes of a :class:`UNet3D`; the defaults are MORSE's (16.3 M parameters in 3D)."""

    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Channels per level, fine to coarse; each further level halves the resolution."""
    groups: int = 8
    """Groups of the group normalisation (fewer where a layer has fewer channels)."""

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 2:
            raise ConfigError(
                f"'channels' needs two or more numbers above 1; found {self.channels}."
            )
        if self.groups < 1:
            raise ConfigError(f"'groups' must be positive; found {self.groups}.")

    def build(self, *, in_channels: int, spatial_dims: int) -> "UNet3D":
        """The network."""
        return UNet3D(self, in_channels=in_channels, spatial_dims=spatial_dims)


class UNet3D(Backbone):
    """Volumetric UNet (Çiçek 2016) in the form that MORSE's code uses.

    Each block is twice (group normalisation, 3x3x3 convolution without bias, ReLU); the first
    convolution of an encoder block has half the channels; 2x max-pooling; nearest up-sampling and
    concatenation. The pyramid holds the decoder maps, coarse to fine: for the default widths
    256@4, 128@2, 64@1, the N = 3 experts. MONAI has no network with normalisation first.
    """

    def __init__(self, config: UNet3DConfig, *, in_channels: int, spatial_dims: int) -> None:
        super().__init__()
        channels, groups = config.channels, config.groups
        encoders = []
        for inputs, outputs in zip((in_channels, *channels[:-1]), channels, strict=True):
            middle = max(outputs // 2, inputs)
            encoders.append(_block(spatial_dims, inputs, middle, outputs, groups=groups))
        self.encoders = nn.ModuleList(encoders)
        pairs = zip(channels[:0:-1], channels[-2::-1], strict=True)  # coarse to fine
        self.decoders = nn.ModuleList(
            _block(spatial_dims, a + b, b, b, groups=groups) for a, b in pairs
        )
        self.pool = max_pool(spatial_dims)(2)
        strides = tuple(2**n for n in reversed(range(len(channels) - 1)))
        self.spec = PyramidSpec(
            spatial_dims, channels[-2::-1], strides, divisor=2 ** (len(channels) - 1)
        )

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *S), every side a multiple of ``spec.divisor`` -> pyramid."""
        skips: list[Tensor] = []
        x = image
        for level, encoder in enumerate(self.encoders):
            x = encoder(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        levels = []
        for decoder in self.decoders:
            skip = skips.pop()
            x = decoder(torch.cat([skip, functional.interpolate(x, size=skip.shape[2:])], dim=1))
            levels.append(x)
        return Pyramid(tuple(levels), tuple(image.shape[2:]))


def _block(
    spatial_dims: int, inputs: int, middle: int, outputs: int, *, groups: int
) -> nn.Sequential:
    convolution = conv(spatial_dims)
    return nn.Sequential(
        _norm(inputs, groups),
        convolution(inputs, middle, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        _norm(middle, groups),
        convolution(middle, outputs, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
    )


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group normalisation with the largest number of groups that divides the channels."""
    wanted = groups if channels >= groups else 1
    return nn.GroupNorm(next(g for g in range(wanted, 0, -1) if channels % g == 0), channels)
