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
from MorseCore.samplers.uncertain import UncertainConfig, UncertainSampler, select_uncertain_points

__all__ = [
    "SAMPLERS",
    "AllPixelsConfig",
    "CoarseGrid",
    "PrecomputedConfig",
    "Sampler",
    "StrideConfig",
    "UncertainConfig",
    "UncertainSampler",
    "select_uncertain_points",
]

SAMPLERS: Registry[Any] = Registry("sampler")
SAMPLERS.register("all", AllPixelsConfig)
SAMPLERS.register("stride", StrideConfig)
SAMPLERS.register("uncertain", UncertainConfig)
SAMPLERS.register("precomputed", PrecomputedConfig)
