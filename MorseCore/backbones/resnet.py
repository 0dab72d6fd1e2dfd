"""ResNet as an encoder (I²Net's), in 2D or 3D."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import batch_norm, conv, initialise_convolutions, max_pool
from MorseCore.backbones.pyramid import Backbone, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError

__all__ = ["ResNet", "ResNetConfig"]

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a :class:`ResNet`; the defaults are I²Net's (ResNet-18)."""

    depth: Literal[18, 34, 50] = 18
    """Layers; 50 has bottleneck blocks with four times the channels at their end."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Of each stage; the stem has the first's."""
    blocks: tuple[int, ...] = ()
    """Residual blocks per stage; empty: those of ``depth``."""

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(f"'channels' needs positive numbers; found {self.channels}.")
        if len(self.counts) != len(self.channels) or min(self.counts) < 1:
            raise ConfigError(
                f"'blocks' needs one positive number a stage ({len(self.channels)}); "
                f"found {self.counts}."
            )

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return self.blocks or _BLOCKS[self.depth]

    def build(self, *, in_channels: int, spatial_dims: int) -> "ResNet":
        """The network."""
        return ResNet(self, in_channels=in_channels, spatial_dims=spatial_dims)


class ResNet(Backbone):
    """ResNet (He 2016) without its classifier: 7x7 stem of stride 2, max-pool, four stages.

    An encoder only, as in I²Net's released Glas model (ResNet-18 of segmentation_models_pytorch,
    which is torchvision's): the pyramid holds the stages' outputs and the stem's, coarse to fine:
    512@32, 256@16, 128@8, 64@4, 64@2. It begins with random weights, where I²Net begins with
    ImageNet's. Layers are torchvision's with ``stages.0`` for ``layer1``; MONAI's class computes
    the same (a test compares), but hands out no maps, and inference does without MONAI here.
    """

    def __init__(self, config: ResNetConfig, *, in_channels: int, spatial_dims: int) -> None:
        super().__init__()
        inputs = config.channels[0]
        self.conv1 = conv(spatial_dims)(in_channels, inputs, 7, stride=2, padding=3, bias=False)
        self.bn1 = batch_norm(spatial_dims)(inputs)
        self.pool = max_pool(spatial_dims)(3, stride=2, padding=1)
        block = _Bottleneck if config.depth == 50 else _BasicBlock
        widths, stages = [inputs], []
        for n, (channels, count) in enumerate(zip(config.channels, config.counts, strict=True)):
            layers = []
            for m in range(count):
                stride = 2 if n and not m else 1
                layers.append(block(spatial_dims, inputs, channels, stride=stride))
                inputs = channels * block.expansion
            stages.append(nn.Sequential(*layers))
            widths.append(inputs)
        self.stages = nn.ModuleList(stages)
        strides = tuple(2 ** (n + 1) for n in reversed(range(len(widths))))
        self.spec = PyramidSpec(
            spatial_dims, tuple(widths[::-1]), strides, divisor=strides[0], is_encoder=True
        )
        initialise_convolutions(self)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, in_channels, *S), every side a multiple of ``spec.divisor`` -> pyramid."""
        levels = [functional.relu(self.bn1(self.conv1(image)), inplace=True)]
        x = self.pool(levels[0])
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return Pyramid(tuple(levels[::-1]), tuple(image.shape[2:]))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, dims: int, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(dims)(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = batch_norm(dims)(channels)
        self.conv2 = conv(dims)(channels, channels, 3, padding=1, bias=False)
        self.bn2 = batch_norm(dims)(channels)
        self.downsample = _shortcut(dims, inputs, channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self.downsample(x), inplace=True)


class _Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride) and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, dims: int, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = conv(dims)(inputs, channels, 1, bias=False)
        self.bn1 = batch_norm(dims)(channels)
        self.conv2 = conv(dims)(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = batch_norm(dims)(channels)
        self.conv3 = conv(dims)(channels, outputs, 1, bias=False)
        self.bn3 = batch_norm(dims)(outputs)
        self.downsample = _shortcut(dims, inputs, outputs, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = functional.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        return functional.relu(residual + self.downsample(x), inplace=True)


def _shortcut(dims: int, inputs: int, outputs: int, *, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        conv(dims)(inputs, outputs, 1, stride=stride, bias=False), batch_norm(dims)(outputs)
    )
