"""Res2Net as SwIPE's encoder, in 2D or 3D."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import (
    avg_pool,
    batch_norm,
    conv,
    initialise_convolutions,
    max_pool,
)
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError

__all__ = ["Res2Net", "Res2NetConfig"]

_BLOCKS = {28: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


@dataclass(frozen=True)
class Res2NetConfig:
    """Sizes of a :class:`Res2Net`; the defaults are SwIPE's in 2D (Res2Net-28)."""

    depth: Literal[28, 50] = 28
    """Layers; SwIPE takes 28 in 2D and 50 in 3D."""
    planes: tuple[int, ...] = (64, 80, 96, 128)
    """Width of each stage; its map has ``expansion`` times as many channels."""
    blocks: tuple[int, ...] = ()
    """Blocks per stage; empty: those of ``depth``."""
    expansion: int = 2
    """4 in the original Res2Net."""
    base_width: int = 26
    """Channels of one split, out of 64 planes."""
    scale: int = 4
    """Splits of a block."""
    stem: tuple[int, int] = (32, 64)
    """Channels of the stem's first two convolutions and of its third."""

    def __post_init__(self) -> None:
        if not self.planes or min(self.planes) < 1 or min(self.stem) < 1:
            raise ConfigError("'planes' and 'stem' need positive numbers.")
        if len(self.counts) != len(self.planes) or min(self.counts) < 1:
            raise ConfigError(
                f"'blocks' needs one positive number a stage ({len(self.planes)}); "
                f"found {self.counts}."
            )
        if self.expansion < 1 or self.scale < 2:
            raise ConfigError("'expansion' must be positive and 'scale' at least 2.")
        if self.width(min(self.planes)) < 1:
            raise ConfigError(
                f"'base_width' ({self.base_width}) leaves no channels for {min(self.planes)} "
                "of 'planes'."
            )

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return self.blocks or _BLOCKS[self.depth]

    def width(self, planes: int) -> int:
        """Channels of one split in a stage."""
        return planes * self.base_width // 64

    def build(self, *, in_channels: int, spatial_dims: int) -> "Res2Net":
        """The network."""
        return Res2Net(self, in_channels=in_channels, spatial_dims=spatial_dims)


class Res2Net(Backbone):
    """Res2Net v1b (Gao 2019) with SwIPE's narrow stages and expansion 2 (SwIPE, E_b).

    Three 3x3 convolutions (the first of stride 2) and a max-pool, then stages of
    :class:`_Bottle2neck`. An encoder only: the pyramid holds the stages' outputs, coarse to fine:
    256@32, 192@16, 160@8, 128@4. In 3D every stride is isotropic, as in the released code.
    """

    def __init__(self, config: Res2NetConfig, *, in_channels: int, spatial_dims: int) -> None:
        super().__init__()
        first, inputs = config.stem
        self.stem = nn.Sequential(
            *_conv_block(spatial_dims, in_channels, first, stride=2),
            *_conv_block(spatial_dims, first, first, stride=1),
            *_conv_block(spatial_dims, first, inputs, stride=1),
        )
        self.pool = max_pool(spatial_dims)(3, stride=2, padding=1)
        stages, channels = [], []
        for n, (planes, count) in enumerate(zip(config.planes, config.counts, strict=True)):
            outputs, width = planes * config.expansion, config.width(planes)
            layers = []
            for m in range(count):
                sizes = (inputs, width, outputs, config.scale)
                stride = 2 if n and not m else 1
                layers.append(_Bottle2neck(spatial_dims, sizes, stride=stride, is_first=not m))
                inputs = outputs
            stages.append(nn.Sequential(*layers))
            channels.append(outputs)
        self.stages = nn.ModuleList(stages)
        strides = tuple(2 ** (n + 2) for n in reversed(range(len(channels))))
        self.spec = PyramidSpec(
            spatial_dims, tuple(channels[::-1]), strides, divisor=strides[0], is_encoder=True
        )
        initialise_convolutions(self)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *S), every side a multiple of ``spec.divisor`` -> pyramid."""
        x = self.pool(self.stem(image))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return Pyramid(tuple(levels[::-1]), tuple(image.shape[2:]))


class _Bottle2neck(nn.Module):
    """A bottleneck whose 3x3 convolution is a cascade over splits of the channels.

    Split 1 is convolved, split i is added to the result of split i - 1 and convolved, the last
    one passes through. The first block of a stage has no additions (the sizes differ by the
    stride), and averages the last split instead. Its shortcut is average-pooled before a 1x1
    convolution ("v1b"), rather than strided.
    """

    def __init__(
        self, dims: int, sizes: tuple[int, int, int, int], *, stride: int, is_first: bool
    ) -> None:
        """:param sizes: channels in, of one split and out, and the number of splits."""
        super().__init__()
        inputs, self.width, outputs, splits = sizes
        self.conv1 = conv(dims)(inputs, self.width * splits, 1, bias=False)
        self.bn1 = batch_norm(dims)(self.width * splits)
        self.convs = nn.ModuleList(
            conv(dims)(self.width, self.width, 3, stride=stride, padding=1, bias=False)
            for _ in range(splits - 1)
        )
        self.bns = nn.ModuleList(batch_norm(dims)(self.width) for _ in range(splits - 1))
        self.conv3 = conv(dims)(self.width * splits, outputs, 1, bias=False)
        self.bn3 = batch_norm(dims)(outputs)
        # Chosen by what the released code does: a first block that changes neither stride nor
        # channels has no shortcut layers and is treated as any other.
        self.is_first = is_first and (stride != 1 or inputs != outputs)
        self.pool: nn.Module = nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if self.is_first:
            # Zeros are counted, so this is padding=1; but that refuses 3D maps with a side of 2.
            padding = nn.ConstantPad2d(1, 0.0) if dims == 2 else nn.ConstantPad3d(1, 0.0)
            self.pool = nn.Sequential(padding, avg_pool(dims)(3, stride=stride))
            self.shortcut = nn.Sequential(
                avg_pool(dims)(stride) if stride != 1 else nn.Identity(),
                conv(dims)(inputs, outputs, 1, bias=False),
                batch_norm(dims)(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        splits = functional.relu(self.bn1(self.conv1(x))).split(self.width, dim=1)
        parts: list[Tensor] = []
        for split, convolution, norm in zip(splits[:-1], self.convs, self.bns, strict=True):
            value = split if self.is_first or not parts else split + parts[-1]
            parts.append(functional.relu(norm(convolution(value))))
        parts.append(self.pool(splits[-1]))
        residual = self.bn3(self.conv3(torch.cat(parts, dim=1)))
        return functional.relu(residual + self.shortcut(x))


def _conv_block(dims: int, inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    return [
        conv(dims)(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        batch_norm(dims)(outputs),
        nn.ReLU(inplace=True),
    ]
