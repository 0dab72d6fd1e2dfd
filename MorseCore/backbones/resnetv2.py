"""The convolutional half of TransUNet's encoder: Big Transfer's ResNet-50, without its last stage.

``B`` batch, ``*S`` space (2D).
"""

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResNetV2", "StandardisedConv2d"]


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose every filter has mean 0 and variance 1 (Qiao 2019)."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C', *S / stride)."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-5)
        return functional.conv2d(image, weight, self.bias, self.stride, self.padding)


class ResNetV2(nn.Module):
    """ResNet-50 of Big Transfer (Kolesnikov 2020) in the form that TransUNet's code uses.

    Group normalisation and weight standardisation; called v2, but its blocks have the order
    convolution, normalisation, ReLU. The max-pool has no padding, so the first stage's map is one
    row and column short; as a skip it is filled up with zeros at its far end, as officially. That
    oddity is kept because ImageNet weights were trained with it.
    """

    def __init__(self, in_channels: int, *, width: int, units: Sequence[int]) -> None:
        """
        :param width: channels of the stem; stage n ends with ``4 * width * 2**n``.
        :param units: blocks per stage, two stages or more.
        """
        super().__init__()
        self.root = nn.Sequential(
            StandardisedConv2d(in_channels, width, 7, stride=2, padding=3, bias=False),
            _norm(width),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, stride=2)
        stages, inputs = [], width
        for n, count in enumerate(units):
            middle = width * 2**n
            stride = 2 if n else 1
            blocks = [_StandardisedBottleneck(inputs, middle, stride=stride)]
            blocks += [
                _StandardisedBottleneck(4 * middle, middle, stride=1) for _ in range(count - 1)
            ]
            stages.append(nn.Sequential(*blocks))
            inputs = 4 * middle
        self.stages = nn.ModuleList(stages)
        self.out_channels = inputs
        self.skip_channels = (width, *(4 * width * 2**n for n in range(len(units) - 1)))
        """Channels of the skips at strides 2, 4 …"""

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, C, *S) -> map at the last stride, and the skips at strides 2, 4 … before it."""
        skips = [self.root(image)]
        x = self.pool(skips[0])
        for n, stage in enumerate(self.stages):
            x = stage(x)
            rows, columns = (
                size // 2 ** (n + 2) - now
                for size, now in zip(image.shape[2:], x.shape[2:], strict=True)
            )
            skips.append(functional.pad(x, (0, columns, 0, rows)) if rows or columns else x)
        return x, skips[:-1]


class _StandardisedBottleneck(nn.Module):
    def __init__(self, inputs: int, middle: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.residual = nn.Sequential(
            StandardisedConv2d(inputs, middle, 1, bias=False),
            _norm(middle),
            nn.ReLU(inplace=True),
            StandardisedConv2d(middle, middle, 3, stride=stride, padding=1, bias=False),
            _norm(middle),
            nn.ReLU(inplace=True),
            StandardisedConv2d(middle, outputs, 1, bias=False),
            _norm(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                StandardisedConv2d(inputs, outputs, 1, stride=stride, bias=False),
                nn.GroupNorm(outputs, outputs),  # one group a channel, with torch's own epsilon
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.residual(x) + self.shortcut(x), inplace=True)


def _norm(channels: int) -> nn.GroupNorm:
    """32 groups; fewer for small test networks whose channels 32 does not divide."""
    return nn.GroupNorm(gcd(32, channels), channels, eps=1e-6)
