"""Samplers: which points of an image the rendering loss is taken at.

Adding one is a file and a line here. A configuration has ``build()`` and says in ``presample``
what is to be drawn in the source images before training: None for all but ``precomputed``.
"""

from typing import Any

from MorseCore.config import Registry
from MorseCore.samplers.all_pixels import AllPixelsConfig
from MorseCore.samplers.precomputed import PrecomputedConfig
from MorseCore.samplers.sampler import CoarseGrid, Sampler
from MorseCore.samplers.stride import StrideConfig
from MorseCore.samplers.uncertain import UncertainConfig, UncertainSampler

__all__ = [
    "SAMPLERS",
    "AllPixelsConfig",
    "CoarseGrid",
    "PrecomputedConfig",
    "Sampler",
    "StrideConfig",
    "UncertainConfig",
    "UncertainSampler",
]

SAMPLERS: Registry[Any] = Registry("sampler")
SAMPLERS.register("all", AllPixelsConfig, "every pixel")
SAMPLERS.register("stride", StrideConfig, "I²Net (MICCAI 2024)")
SAMPLERS.register("uncertain", UncertainConfig, "PointRend (CVPR 2020), MORSE (MICCAI 2023)")
SAMPLERS.register("precomputed", PrecomputedConfig, "SwIPE (MICCAI 2023)")
