"""TransUNet: a ResNet-50 and a vision transformer as encoder, convolutions as decoder; 2D."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.backbones.resnetv2 import ResNetV2
from MorseCore.backbones.transformer import TransformerBlock, check_transformer
from MorseCore.errors import ConfigError

__all__ = ["TransUNet", "TransUNetConfig"]


@dataclass(frozen=True)
class TransUNetConfig:
    """Sizes of a :class:`TransUNet`; the defaults are R50-ViT-B/16's (105 M parameters)."""

    image_size: tuple[int, int] = (256, 256)
    """For which the position embedding is kept; for another size it is interpolated. TransUNet's
    own experiments have 224, MORSE's 256."""
    width: int = 64
    """Channels of the ResNet's first convolution."""
    units: tuple[int, ...] = (3, 4, 9)
    """Blocks per stage of the ResNet."""
    hidden: int = 768
    """Width of the transformer."""
    mlp: int = 3072
    """Hidden width of its MLPs."""
    heads: int = 12
    """Attention heads."""
    layers: int = 12
    """Transformer blocks."""
    dropout: float = 0.1
    """Of the tokens and the MLPs; the attention has none."""
    neck: int = 512
    """Channels of the 3x3 convolution between transformer and decoder."""
    decoder: tuple[int, ...] = (256, 128, 64, 16)
    """Channels of the decoder's blocks, coarse to fine; one more than stages, the last at stride
    1."""
    maps: int = 3
    """N: how many decoder maps the pyramid has, of the finest (4 adds 256@8)."""

    def __post_init__(self) -> None:
        check_transformer(
            hidden=self.hidden, mlp=self.mlp, heads=self.heads, layers=self.layers
        )  # fmt: skip
        if len(self.units) < 2 or min(self.units) < 1:
            raise ConfigError(f"'units' needs two or more positive numbers; found {self.units}.")
        if len(self.decoder) != len(self.units) + 1 or min(self.decoder) < 1:
            raise ConfigError(
                f"'decoder' needs {len(self.units) + 1} positive numbers, one more than 'units'; "
                f"found {self.decoder}."
            )
        if not 1 <= self.maps <= len(self.decoder):
            raise ConfigError(
                f"'maps' must lie between 1 and {len(self.decoder)}; found {self.maps}."
            )
        if self.width < 1 or self.neck < 1:
            raise ConfigError("'width' and 'neck' must be positive.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"'dropout' must lie in [0, 1); found {self.dropout}.")
        stride = 2 ** len(self.decoder)
        if any(n < stride or n % stride for n in self.image_size):
            raise ConfigError(
                f"'image_size' must hold multiples of {stride}; found {self.image_size}."
            )

    def build(self, *, in_channels: int, spatial_dims: int) -> "TransUNet":
        """The network.

        :raises ConfigError: in 3D, for which TransUNet is not defined.
        """
        if spatial_dims != 2:
            raise ConfigError(
                "The backbone 'transunet' is two-dimensional; set 'spatial_dims' to 2, or take "
                "'unetr' for a transformer in 3D."
            )
        return TransUNet(self, in_channels=in_channels)


class TransUNet(Backbone):
    """R50-ViT-B/16 with its cascaded up-sampler (Chen 2021), MORSE's second backbone.

    A grey image is repeated to three channels, as officially (the stem is ImageNet's). The pyramid
    holds the decoder's last N = 3 maps, coarse to fine: 128@4, 64@2, 16@1. MORSE's released code
    has another decoder of its own (512@8, 256@4, 32@1) and leaves the official one unused; the
    paper cites the official one, which is what this is.

    The position embedding is learned for ``image_size``. TransUNet's code refuses other sizes in a
    run, but interpolates the embedding linearly when it loads weights; here that interpolation
    happens whenever an image has another size, so that every multiple of the stride will do.
    """

    def __init__(self, config: TransUNetConfig, *, in_channels: int) -> None:
        super().__init__()
        self.stride = 2 ** len(config.decoder)
        self.encoder = ResNetV2(
            3 if in_channels == 1 else in_channels, width=config.width, units=config.units
        )
        self.embed = nn.Conv2d(self.encoder.out_channels, config.hidden, 1)
        grid = [n // self.stride for n in config.image_size]
        self.positions = nn.Parameter(torch.zeros(1, config.hidden, *grid))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.hidden, mlp=config.mlp, heads=config.heads, qkv_bias=True, epsilon=1e-6,
                dropout=config.dropout,
            )
            for _ in range(config.layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(config.hidden, eps=1e-6)
        self.neck = _conv_block(config.hidden, config.neck)
        skips = (*self.encoder.skip_channels[::-1], 0)
        inputs = (config.neck, *config.decoder[:-1])
        self.decoders = nn.ModuleList(
            nn.Sequential(_conv_block(a + skip, b), _conv_block(b, b))
            for a, skip, b in zip(inputs, skips, config.decoder, strict=True)
        )
        strides = tuple(2**n for n in reversed(range(config.maps)))
        self.spec = PyramidSpec(2, config.decoder[-config.maps :], strides, divisor=self.stride)
        for block in self.blocks:
            _initialise_mlp(block)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, H, W), every side a multiple of ``spec.divisor`` -> pyramid."""
        x, skips = self.encoder(image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image)
        x = self.embed(x)
        grid = x.shape[2:]
        tokens = self.dropout((x + self._positions(grid)).flatten(2).transpose(1, 2))  # (B, T, W)
        for block in self.blocks:
            tokens = block(tokens)
        x = self.neck(self.norm(tokens).transpose(1, 2).unflatten(2, grid))
        levels = []
        for decoder in self.decoders:
            # Corners aligned, as nn.UpsamplingBilinear2d in the official code.
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = decoder(torch.cat([x, skips.pop()], dim=1) if skips else x)
            levels.append(x)
        return Pyramid(tuple(levels[-len(self.spec.channels) :]), tuple(image.shape[2:]))

    def _positions(self, grid: torch.Size) -> Tensor:
        """The position embedding (1, W, *grid)."""
        if self.positions.shape[2:] == grid:
            return self.positions
        # Corners aligned, as scipy.ndimage.zoom in the official loader.
        return functional.interpolate(
            self.positions, size=grid, mode="bilinear", align_corners=True
        )


def _conv_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _initialise_mlp(block: nn.Module) -> None:
    for layer in block.get_submodule("mlp").modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
