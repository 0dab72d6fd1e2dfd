"""RFB-Lite: a receptive-field block with two dilated branches (SwIPE's neck, one per level)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import batch_norm, conv

__all__ = ["RFBLite", "conv_norm"]


class RFBLite(nn.Module):
    """Three branches, concatenated, brought to h channels by a 3x3 convolution, plus a residual.

    Branches: 1x1; 1x1, 1x3, 3x1, 3x3 with dilation 3; 1x1, 1x5, 5x1, 3x3 with dilation 5. Every
    convolution is without bias and followed by batch normalisation; the only ReLU is the last.
    The full RFB has a fourth branch of 7. The paper replaces symmetric by asymmetric convolutions;
    its code, and this, keep the dilated 3x3 symmetric. In 3D there is one asymmetric convolution
    an axis.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        branches = [conv_norm(spatial_dims, inputs, outputs, 1)]
        for length in (3, 5):
            layers = [conv_norm(spatial_dims, inputs, outputs, 1)]
            for axis in reversed(range(spatial_dims)):
                kernel = tuple(length if n == axis else 1 for n in range(spatial_dims))
                layers.append(conv_norm(spatial_dims, outputs, outputs, kernel))
            layers.append(conv_norm(spatial_dims, outputs, outputs, 3, dilation=length))
            branches.append(nn.Sequential(*layers))
        self.branches = nn.ModuleList(branches)
        self.merge = conv_norm(spatial_dims, 3 * outputs, outputs, 3)
        self.residual = conv_norm(spatial_dims, inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, h, *S)."""
        merged = self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))
        return functional.relu(merged + self.residual(x))


def conv_norm(
    spatial_dims: int,
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, ...],
    *,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """A convolution that keeps the size, then batch normalisation."""
    sides = (kernel,) * spatial_dims if isinstance(kernel, int) else kernel
    padding = tuple(dilation * (n // 2) for n in sides)
    convolution = conv(spatial_dims)(
        inputs, outputs, sides, padding=padding, dilation=dilation, bias=bias
    )
    return nn.Sequential(convolution, batch_norm(spatial_dims)(outputs))
