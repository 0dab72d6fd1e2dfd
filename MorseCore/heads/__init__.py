"""Heads: pyramid in, implicit field out. Adding one is a file and a line here."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from MorseCore.config import Registry
from MorseCore.errors import ConfigError
from MorseCore.heads.head import Head, HeadConfig
from MorseCore.heads.i2net.head import I2NetConfig
from MorseCore.heads.ifa import IfaConfig
from MorseCore.heads.implicit_pointrend import ImplicitPointRendConfig
from MorseCore.heads.iosnet import IosnetConfig
from MorseCore.heads.morse import IarConfig, IarMoeConfig, MoeConfig, MorseConfig, SmoeConfig
from MorseCore.heads.morse_options import read_former
from MorseCore.heads.plain import PlainConfig
from MorseCore.heads.pointrend import PointRendConfig
from MorseCore.heads.swipe.head import SwipeConfig

__all__ = ["HEADS", "Head", "HeadConfig"]


class HeadRegistry(Registry[HeadConfig]):
    """The heads that a configuration may name; reads what older releases wrote, too."""

    def decode(self, data: Any, where: str) -> HeadConfig:
        """See :meth:`Registry.decode` and :func:`read_former`."""
        if isinstance(data, Mapping) and data.get("name") in list(self):
            known = {item.name for item in fields(self[data["name"]])}
            try:
                data = read_former(data, known)
            except ConfigError as error:
                raise ConfigError(f"In '{where}': {error}") from None
        return super().decode(data, where)


HEADS = HeadRegistry("head")
HEADS.register("plain", PlainConfig, "baseline of all papers")
HEADS.register("morse", MorseConfig, "MORSE (MICCAI 2023)")
HEADS.register(
    "moe", MoeConfig, "MORSE (MICCAI 2023), Table 1: dense mixture of experts, no rendering"
)
HEADS.register(
    "smoe", SmoeConfig, "MORSE (MICCAI 2023), Table 1: stochastic mixture of experts, no rendering"
)
HEADS.register("iar", IarConfig, "MORSE (MICCAI 2023), Table 1: rendering without experts")
HEADS.register(
    "iar+moe", IarMoeConfig, "MORSE (MICCAI 2023), Table 1: rendering with a dense mixture"
)
HEADS.register("pointrend", PointRendConfig, "PointRend (CVPR 2020), MORSE (MICCAI 2023), Table 1")
HEADS.register(
    "implicit_pointrend",
    ImplicitPointRendConfig,
    "Implicit PointRend (CVPR 2022), MORSE (MICCAI 2023), Table 1",
)
HEADS.register("i2net", I2NetConfig, "I²Net (MICCAI 2024)")
HEADS.register("ifa", IfaConfig, "IFA (ECCV 2022), the static row of I²Net (MICCAI 2024)")
HEADS.register(
    "iosnet", IosnetConfig, "IOSNet (MICCAI 2022), in I²Net (MICCAI 2024) and SwIPE (MICCAI 2023)"
)
HEADS.register("swipe", SwipeConfig, "SwIPE (MICCAI 2023)")
