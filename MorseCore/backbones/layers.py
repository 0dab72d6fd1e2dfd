"""Layers by number of dimensions, so that 2D and 3D share one code path."""

import torch
from torch import Tensor, nn

from MorseCore.errors import ConfigError

__all__ = [
    "avg_pool",
    "batch_norm",
    "conv",
    "conv_transpose",
    "initialise_convolutions",
    "max_pool",
]


def _pick(spatial_dims: int, two: type, three: type) -> type:
    if spatial_dims not in (2, 3):
        raise ConfigError(f"'spatial_dims' must be 2 or 3; found {spatial_dims}.")
    return two if spatial_dims == 2 else three


def conv(spatial_dims: int) -> type:
    """``Conv2d`` or ``Conv3d``; the latter with oneDNN for small volumes, too."""
    return _pick(spatial_dims, nn.Conv2d, SmallVolumeConv3d)


class SmallVolumeConv3d(nn.Conv3d):
    """``Conv3d`` that takes oneDNN where torch would not: one small volume, at inference on a CPU.

    torch turns to its own loops if batch x channels x first two sides is 20,480 or less, which is
    so in most layers of a 40x56x40 window. 8 to 16 channels at 40x56x40: 106 ms, here 14 ms; 16 to
    16 at 20x28x20: 15 ms, here 1.7 ms (one thread). The results differ by rounding.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """See ``Conv3d``."""
        if isinstance(self.padding, str) or not self._is_left_to_loops(input):
            return super().forward(input)
        return torch.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )

    def _is_left_to_loops(self, image: Tensor) -> bool:
        """Whether torch would not use oneDNN although it could. Not under autograd, which
        ``mkldnn_convolution`` has no formula for, nor where operations are counted."""
        return (
            torch.is_inference_mode_enabled()
            and image.device.type == "cpu"
            and image.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
            and self.padding_mode == "zeros"
            and image.ndim == 5
            and len(image) == 1
            and image.numel() // image.shape[-1] <= 20_480
        )


def max_pool(spatial_dims: int) -> type:
    """``MaxPool2d`` or ``MaxPool3d``."""
    return _pick(spatial_dims, nn.MaxPool2d, nn.MaxPool3d)


def avg_pool(spatial_dims: int) -> type:
    """``AvgPool2d`` or ``AvgPool3d``."""
    return _pick(spatial_dims, nn.AvgPool2d, nn.AvgPool3d)


def conv_transpose(spatial_dims: int) -> type:
    """``ConvTranspose2d`` or ``ConvTranspose3d``."""
    return _pick(spatial_dims, nn.ConvTranspose2d, nn.ConvTranspose3d)


def batch_norm(spatial_dims: int) -> type:
    """``BatchNorm2d`` or ``BatchNorm3d``."""
    return _pick(spatial_dims, nn.BatchNorm2d, nn.BatchNorm3d)


def initialise_convolutions(module: nn.Module) -> None:
    """He's normal initialisation by fan-out, which residual networks before a ReLU begin with."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
