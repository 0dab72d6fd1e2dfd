"""UNETR: a vision transformer as encoder, a convolutional decoder; in 3D or 2D."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import conv, conv_transpose
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.backbones.transformer import TransformerBlock, check_transformer
from MorseCore.errors import ConfigError

__all__ = ["UNETR", "UNETRConfig"]


@dataclass(frozen=True)
class UNETRConfig:
    """Sizes of a :class:`UNETR`; the defaults are MORSE's (92.8 M parameters in 3D)."""

    image_size: tuple[int, ...] = (96, 96, 96)
    """The one size of input, array order: the window of training and of inference. The position
    embedding has one vector a patch of it."""
    channels: int = 16
    """Of the finest map; each coarser one has twice as many."""
    hidden: int = 768
    """Width of the transformer."""
    mlp: int = 3072
    """Hidden width of its MLPs."""
    heads: int = 12
    """Attention heads."""
    layers: int = 12
    """Transformer blocks; a multiple of the number of decoder blocks, log2 of ``patch``."""
    patch: int = 16
    """Side of a patch, a power of two."""

    def __post_init__(self) -> None:
        check_transformer(
            hidden=self.hidden, mlp=self.mlp, heads=self.heads, layers=self.layers
        )  # fmt: skip
        if self.channels < 1:
            raise ConfigError(f"'channels' must be positive; found {self.channels}.")
        if self.patch < 4 or self.patch & (self.patch - 1):
            raise ConfigError(f"'patch' must be a power of two from 4 on; found {self.patch}.")
        if self.layers % self.depth:
            raise ConfigError(
                f"'layers' must be a multiple of {self.depth} for 'patch' {self.patch}; "
                f"found {self.layers}."
            )
        if any(n < self.patch or n % self.patch for n in self.image_size):
            raise ConfigError(
                f"'image_size' must hold multiples of 'patch' ({self.patch}); "
                f"found {self.image_size}."
            )

    @property
    def depth(self) -> int:
        """Decoder blocks: how often the patches' grid is doubled."""
        return self.patch.bit_length() - 1

    def build(self, *, in_channels: int, spatial_dims: int) -> "UNETR":
        """The network.

        :raises ConfigError: if ``image_size`` has another number of sides than the images.
        """
        if len(self.image_size) != spatial_dims:
            raise ConfigError(
                f"'image_size' must hold {spatial_dims} sizes, as 'spatial_dims' says; "
                f"found {self.image_size}."
            )
        return UNETR(self, in_channels=in_channels)


class UNETR(Backbone):
    """UNETR (Hatamizadeh 2022) as MONAI defines it, which MORSE's code copies.

    Queries, keys and values without bias, instance normalisation without parameters, residual
    blocks, transposed convolutions. The skips are the outputs of transformer blocks 4, 7 and 10
    (hidden states 3, 6, 9 counted from 0, without a norm), where the paper's figure has z3, z6, z9.
    The pyramid holds all decoder maps but the coarsest, coarse to fine: 64@4, 32@2, 16@1, MORSE's
    N = 3. The patch embedding is written as a strided convolution, the same function as MONAI's
    "perceptron" with its weights in another order. Not MONAI's class itself, because that hands out
    no decoder maps, needs einops, and inference does without MONAI in this project; a test compares
    the outputs.
    """

    def __init__(self, config: UNETRConfig, *, in_channels: int) -> None:
        super().__init__()
        dims, hidden = len(config.image_size), config.hidden
        self.embed = conv(dims)(in_channels, hidden, config.patch, stride=config.patch)
        self.grid = tuple(n // config.patch for n in config.image_size)
        self.positions = nn.Parameter(torch.empty(1, hidden, *self.grid))
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden, mlp=config.mlp, heads=config.heads, qkv_bias=False)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        depth = config.depth
        widths = [config.channels * 2**n for n in range(depth)]  # of strides 1, 2, 4 …
        self.tapped = [n * config.layers // depth for n in range(1, depth)]
        """Which blocks' outputs become the skips at strides 2, 4 …"""
        self.image_skip = _ResidualBlock(dims, in_channels, widths[0])
        self.skips = nn.ModuleList(
            _lift(dims, hidden, widths[n], doublings=depth - n) for n in range(1, depth)
        )
        coarser = [*widths[1:], hidden]
        self.decoders = nn.ModuleList(
            _DecoderBlock(dims, coarser[n], widths[n]) for n in reversed(range(depth))
        )
        strides = tuple(2**n for n in reversed(range(depth - 1)))
        self.spec = PyramidSpec(
            dims, tuple(widths[-2::-1]), strides, divisor=config.patch,
            fixed_size=config.image_size,
        )  # fmt: skip
        nn.init.trunc_normal_(self.positions, std=0.02)
        nn.init.trunc_normal_(self.embed.weight, std=0.02)
        nn.init.zeros_(self.embed.bias)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *image_size) -> pyramid."""
        tokens = (self.embed(image) + self.positions).flatten(2).transpose(1, 2)  # (B, T, W)
        states = []
        for block in self.blocks:
            tokens = block(tokens)
            states.append(tokens)
        skips = [self.image_skip(image)]
        for lift, n in zip(self.skips, self.tapped, strict=True):
            skips.append(lift(self._as_map(states[n])))
        x = self._as_map(self.norm(tokens))
        levels = []
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
            levels.append(x)
        return Pyramid(tuple(levels[1:]), tuple(image.shape[2:]))

    def _as_map(self, tokens: Tensor) -> Tensor:
        """(B, T, W) -> (B, W, *grid)."""
        return tokens.transpose(1, 2).unflatten(2, self.grid)


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution where channels change."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv(dims)(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = conv(dims)(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = (
            conv(dims)(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.leaky_relu(functional.instance_norm(self.conv1(x)), 0.01)
        residual = functional.instance_norm(self.conv2(residual))
        shortcut = self.shortcut(x)
        if shortcut is not x:
            shortcut = functional.instance_norm(shortcut)
        return functional.leaky_relu(residual + shortcut, 0.01)


class _DecoderBlock(nn.Module):
    """Doubles a map, appends the skip, convolves."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = _double(dims, inputs, outputs)
        self.block = _ResidualBlock(dims, 2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.block(torch.cat([self.up(x), skip], dim=1))
        return result


def _lift(dims: int, inputs: int, outputs: int, *, doublings: int) -> nn.Sequential:
    """From the patches' grid to that of a skip: a doubling, and (doubling, block) for each more."""
    layers: list[nn.Module] = [_double(dims, inputs, outputs)]
    for _ in range(doublings - 1):
        layers += [_double(dims, outputs, outputs), _ResidualBlock(dims, outputs, outputs)]
    return nn.Sequential(*layers)


def _double(dims: int, inputs: int, outputs: int) -> nn.Module:
    layer: nn.Module = conv_transpose(dims)(inputs, outputs, 2, stride=2, bias=False)
    return layer
