"""Backbones: image in, pyramid of decoder maps out. Adding one is a file and a line here."""

from typing import Any

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.backbones.unet import UNetConfig
from MorseCore.backbones.unet3d import UNet3DConfig
from MorseCore.config import Registry

__all__ = ["BACKBONES", "Pyramid", "PyramidSpec"]

BACKBONES: Registry[Any] = Registry("backbone")
BACKBONES.register("unet", UNetConfig)
BACKBONES.register("unet3d", UNet3DConfig)
