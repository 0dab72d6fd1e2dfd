"""Heads: pyramid in, implicit field out. Adding one is a file and a line here."""

from typing import Any

from MorseCore.config import Registry
from MorseCore.heads.head import Head
from MorseCore.heads.i2net import I2NetConfig
from MorseCore.heads.ifa import IfaConfig
from MorseCore.heads.implicit_pointrend import ImplicitPointRendConfig
from MorseCore.heads.iosnet import IosnetConfig
from MorseCore.heads.morse import IarMoeConfig, MoeConfig, MorseConfig, SmoeConfig
from MorseCore.heads.plain import PlainConfig
from MorseCore.heads.pointrend import IarConfig, PointRendConfig
from MorseCore.heads.swipe.config import SwipeConfig

__all__ = ["HEADS", "Head"]

HEADS: Registry[Any] = Registry("head")
HEADS.register("plain", PlainConfig)
HEADS.register("morse", MorseConfig)
HEADS.register("moe", MoeConfig)
HEADS.register("smoe", SmoeConfig)
HEADS.register("iar", IarConfig)
HEADS.register("iar+moe", IarMoeConfig)
HEADS.register("pointrend", PointRendConfig)
HEADS.register("implicit_pointrend", ImplicitPointRendConfig)
HEADS.register("i2net", I2NetConfig)
HEADS.register("ifa", IfaConfig)
HEADS.register("iosnet", IosnetConfig)
HEADS.register("swipe", SwipeConfig)
