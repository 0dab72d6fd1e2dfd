"""Heads: pyramid in, implicit field out. Adding one is a file and a line here."""

from typing import Any

from MorseCore.config import Registry
from MorseCore.heads.head import Head
from MorseCore.heads.morse import MorseConfig
from MorseCore.heads.plain import PlainConfig

__all__ = ["HEADS", "Head"]

HEADS: Registry[Any] = Registry("head")
HEADS.register("plain", PlainConfig)
HEADS.register("morse", MorseConfig)
