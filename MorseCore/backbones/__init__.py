"""Backbones: image in, pyramid of decoder maps out. Adding one is a file and a line here."""

from MorseCore.backbones.pyramid import Backbone, BackboneConfig, Pyramid, PyramidSpec
from MorseCore.backbones.res2net import Res2NetConfig
from MorseCore.backbones.resnet import ResNetConfig
from MorseCore.backbones.strided_unet import StridedUNetConfig
from MorseCore.backbones.transunet import TransUNetConfig
from MorseCore.backbones.unet import UNetConfig
from MorseCore.backbones.unet3d import UNet3DConfig
from MorseCore.backbones.unet_bilinear import BilinearUNetConfig
from MorseCore.backbones.unetr import UNETRConfig
from MorseCore.config import Registry

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "Pyramid", "PyramidSpec"]

BACKBONES: Registry[BackboneConfig] = Registry("backbone")
BACKBONES.register("unet", UNetConfig, "Ronneberger 2015, in MORSE (MICCAI 2023)")
BACKBONES.register("unet3d", UNet3DConfig, "Cicek 2016, in MORSE (MICCAI 2023)")
BACKBONES.register("strided_unet", StridedUNetConfig, "this project's whole-head network")
BACKBONES.register("unet_bilinear", BilinearUNetConfig, "Ronneberger 2015, in I²Net (MICCAI 2024)")
BACKBONES.register("transunet", TransUNetConfig, "TransUNet (Chen 2021), in MORSE (MICCAI 2023)")
BACKBONES.register(
    "unetr", UNETRConfig, "UNETR (WACV 2022), in MORSE (MICCAI 2023) and SwIPE (MICCAI 2023)"
)
BACKBONES.register("resnet", ResNetConfig, "ResNet (CVPR 2016), in I²Net (MICCAI 2024)")
BACKBONES.register("res2net", Res2NetConfig, "Res2Net (TPAMI 2019), in SwIPE (MICCAI 2023)")
