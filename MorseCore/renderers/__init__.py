"""Renderers: which points of a field are evaluated to make a mask.

Adding one is a file and a line here. Each takes the field of any head, in 2D and 3D.
"""

from typing import Any

from MorseCore.config import Registry
from MorseCore.renderers.dense import DenseConfig
from MorseCore.renderers.mise import MiseConfig
from MorseCore.renderers.mise_released import ReleasedMiseConfig
from MorseCore.renderers.refine import RefineConfig
from MorseCore.renderers.renderer import Renderer, Rendering
from MorseCore.renderers.subdivide import SubdivideConfig

__all__ = [
    "RENDERERS",
    "DenseConfig",
    "MiseConfig",
    "RefineConfig",
    "ReleasedMiseConfig",
    "Renderer",
    "Rendering",
    "SubdivideConfig",
]

RENDERERS: Registry[Any] = Registry("renderer", default="refine")  # models of format 1
RENDERERS.register("dense", DenseConfig)
RENDERERS.register("refine", RefineConfig)
RENDERERS.register("subdivide", SubdivideConfig)
RENDERERS.register("mise", MiseConfig)
RENDERERS.register("mise_released", ReleasedMiseConfig)
