"""MorseCore: segmentation by implicit rendering of uncertain points, without Slicer.

``from MorseCore import segment, Predictor, read_image, evaluate``; see :mod:`MorseCore.api`.
``import MorseCore`` alone imports neither torch nor MONAI.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_OFFERED = ("Predictor", "Result", "evaluate", "read_image", "segment")


def __getattr__(name: str) -> Any:
    """What the library offers, imported when it is first asked for."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'MorseCore' has no attribute '{name}'")
    return getattr(import_module("MorseCore.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
