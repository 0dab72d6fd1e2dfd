"""Layers by number of dimensions, so that 2D and 3D share one code path."""

from torch import nn

from MorseCore.errors import ConfigError

__all__ = ["conv", "max_pool"]


def _pick(spatial_dims: int, two: type, three: type) -> type:
    if spatial_dims not in (2, 3):
        raise ConfigError(f"'spatial_dims' must be 2 or 3; found {spatial_dims}.")
    return two if spatial_dims == 2 else three


def conv(spatial_dims: int) -> type:
    """``Conv2d`` or ``Conv3d``."""
    return _pick(spatial_dims, nn.Conv2d, nn.Conv3d)


def max_pool(spatial_dims: int) -> type:
    """``MaxPool2d`` or ``MaxPool3d``."""
    return _pick(spatial_dims, nn.MaxPool2d, nn.MaxPool3d)
