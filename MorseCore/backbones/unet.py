"""The UNet of MORSE's 2D experiments, in 2D or 3D."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from MorseCore.backbones.layers import conv, max_pool
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError

__all__ = ["UNet", "UNetConfig"]


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a :class:`UNet`; the defaults are MORSE's (1.81 M parameters in 2D)."""

    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels per level, fine to coarse; each further level halves the resolution."""
    dropout: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)
    """Dropout probability in each encoder level; the decoder has none."""
    align_corners: bool = False
    """Up-sample with the corners of both maps at one place, as MORSE's released code does; false:
    with pixel centres where they are, as everything else here."""

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ConfigError(
                f"'channels' needs two or more positive numbers; found {self.channels}."
            )
        if len(self.dropout) != len(self.channels):
            raise ConfigError(
                f"'dropout' needs one value a level ({len(self.channels)}); found {self.dropout}."
            )
        if not all(0 <= p < 1 for p in self.dropout):
            raise ConfigError(f"'dropout' must lie in [0, 1); found {self.dropout}.")

    def build(self, *, in_channels: int, spatial_dims: int) -> "UNet":
        """The network."""
        return UNet(self, in_channels=in_channels, spatial_dims=spatial_dims)


class UNet(Backbone):
    """Encoder-decoder with skip connections (Ronneberger 2015, in MORSE's released widths).

    The pyramid holds the bottleneck and all decoder maps, coarse to fine: for the default widths
    256@16, 128@8, 64@4, 32@2, 16@1, MORSE's N = 5 experts. The paper speaks of decoder blocks,
    of which there are only four; its N = 5 counts the bottleneck.
    Up-sampling is a 1x1 convolution and linear interpolation: the released network has a switch for
    transposed convolutions that its decoder does not pass on, which its 1.81 M parameters show.
    Hand-written because MONAI's ``BasicUNet`` has another block (one dropout after each of both
    convolutions) and does not halve the channels in its last up-sampling.
    """

    def __init__(self, config: UNetConfig, *, in_channels: int, spatial_dims: int) -> None:
        super().__init__()
        channels = config.channels
        inputs = (in_channels, *channels[:-1])
        self.encoders = nn.ModuleList(
            _block(spatial_dims, a, b, dropout=p)
            for a, b, p in zip(inputs, channels, config.dropout, strict=True)
        )
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # coarse to fine
        mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.upsamplers = nn.ModuleList(
            nn.Sequential(
                conv(spatial_dims)(a, b, 1),
                nn.Upsample(scale_factor=2, mode=mode, align_corners=config.align_corners),
            )
            for a, b in pairs
        )
        self.decoders = nn.ModuleList(_block(spatial_dims, 2 * b, b, dropout=0.0) for _, b in pairs)
        self.pool = max_pool(spatial_dims)(2)
        strides = tuple(2**n for n in reversed(range(len(channels))))
        self.spec = PyramidSpec(spatial_dims, channels[::-1], strides, divisor=strides[0])

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *S), every side a multiple of ``spec.divisor`` -> pyramid."""
        skips: list[Tensor] = []
        x = image
        for level, encoder in enumerate(self.encoders):
            x = encoder(self.pool(x) if level else x)
            skips.append(x)
        levels = [skips.pop()]
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            levels.append(decoder(torch.cat([skips.pop(), upsampler(levels[-1])], dim=1)))
        return Pyramid(tuple(levels), tuple(image.shape[2:]))


def _block(spatial_dims: int, inputs: int, outputs: int, *, dropout: float) -> nn.Sequential:
    norm = nn.BatchNorm2d if spatial_dims == 2 else nn.BatchNorm3d
    convolution = conv(spatial_dims)
    return nn.Sequential(
        convolution(inputs, outputs, 3, padding=1),
        norm(outputs),
        nn.LeakyReLU(0.01, inplace=True),
        nn.Dropout(dropout),
        convolution(outputs, outputs, 3, padding=1),
        norm(outputs),
        nn.LeakyReLU(0.01, inplace=True),
    )
