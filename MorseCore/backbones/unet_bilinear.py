"""The U-Net that I²Net is compared with on Synapse, in 2D or 3D."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import batch_norm, conv, max_pool
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError

__all__ = ["BilinearUNet", "BilinearUNetConfig"]


@dataclass(frozen=True)
class BilinearUNetConfig:
    """Sizes of a :class:`BilinearUNet`; the defaults have 17.26 M parameters in 2D."""

    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels per level, fine to coarse; each further level halves the resolution."""

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ConfigError(
                f"'channels' needs two or more positive numbers; found {self.channels}."
            )

    def build(self, *, in_channels: int, spatial_dims: int) -> "BilinearUNet":
        """The network."""
        return BilinearUNet(self, in_channels=in_channels, spatial_dims=spatial_dims)


class BilinearUNet(Backbone):
    """The common public U-Net with linear up-sampling instead of transposed convolutions.

    I²Net (Table 1) states 17.26 M parameters for its U-Net and no more; of the standard U-Nets this
    one has that number (with a 1x1 classifier, 1 channel in, 9 classes out: 17,262,345), so that it
    is an inference and not stated. Double 3x3 convolutions without bias with batch normalisation
    and ReLU; the decoder's double convolution halves the concatenated channels first, then goes to
    the next level's. The pyramid holds the bottleneck and all decoder maps, coarse to fine:
    512@16, 256@8, 128@4, 64@2, 64@1. Up-sampling aligns corners, as that code does.
    """

    def __init__(self, config: BilinearUNetConfig, *, in_channels: int, spatial_dims: int) -> None:
        super().__init__()
        channels = config.channels
        self.encoders = nn.ModuleList(
            _double_conv(spatial_dims, a, b, b)
            for a, b in zip((in_channels, *channels[:-1]), channels, strict=True)
        )
        # A decoder block ends with the channels of the level after it; the last one keeps its own.
        outputs = [*channels[-3::-1], channels[0]]
        inputs = [channels[-1], *outputs[:-1]]
        self.decoders = nn.ModuleList(
            _double_conv(spatial_dims, a + skip, (a + skip) // 2, b)
            for a, skip, b in zip(inputs, channels[-2::-1], outputs, strict=True)
        )
        self.pool = max_pool(spatial_dims)(2)
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        strides = tuple(2**n for n in reversed(range(len(channels))))
        widths = (channels[-1], *outputs)
        self.spec = PyramidSpec(spatial_dims, widths, strides, divisor=strides[0])

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *S), every side a multiple of ``spec.divisor`` -> pyramid."""
        skips: list[Tensor] = []
        x = image
        for level, encoder in enumerate(self.encoders):
            x = encoder(self.pool(x) if level else x)
            skips.append(x)
        levels = [skips.pop()]
        for decoder in self.decoders:
            x = functional.interpolate(
                levels[-1], scale_factor=2, mode=self.mode, align_corners=True
            )
            levels.append(decoder(torch.cat([skips.pop(), x], dim=1)))
        return Pyramid(tuple(levels), tuple(image.shape[2:]))


def _double_conv(dims: int, inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        conv(dims)(inputs, middle, 3, padding=1, bias=False),
        batch_norm(dims)(middle),
        nn.ReLU(inplace=True),
        conv(dims)(middle, outputs, 3, padding=1, bias=False),
        batch_norm(dims)(outputs),
        nn.ReLU(inplace=True),
    )
