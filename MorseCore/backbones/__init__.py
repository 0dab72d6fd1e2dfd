"""Backbones: image in, pyramid of decoder maps out. Adding one is a file and a line here."""

from typing import Any

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.backbones.res2net import Res2NetConfig
from MorseCore.backbones.resnet import ResNetConfig
from MorseCore.backbones.transunet import TransUNetConfig
from MorseCore.backbones.unet import UNetConfig
from MorseCore.backbones.unet3d import UNet3DConfig
from MorseCore.backbones.unet_bilinear import BilinearUNetConfig
from MorseCore.backbones.unetr import UNETRConfig
from MorseCore.config import Registry

__all__ = ["BACKBONES", "Pyramid", "PyramidSpec"]

BACKBONES: Registry[Any] = Registry("backbone")
BACKBONES.register("unet", UNetConfig)
BACKBONES.register("unet3d", UNet3DConfig)
BACKBONES.register("unet_bilinear", BilinearUNetConfig)
BACKBONES.register("transunet", TransUNetConfig)
BACKBONES.register("unetr", UNETRConfig)
BACKBONES.register("resnet", ResNetConfig)
BACKBONES.register("res2net", Res2NetConfig)
