"""Renderers: which points of a field are evaluated to make a mask.

Adding one is a file and a line here. Each takes the field of any head, in 2D and 3D.
"""

from typing import Any

from MorseCore.config import Registry
from MorseCore.renderers.dense import DenseConfig
from MorseCore.renderers.mise import MiseConfig
from MorseCore.renderers.mise_released import ReleasedMiseConfig
from MorseCore.renderers.refine import RefineConfig
from MorseCore.renderers.renderer import Renderer, RendererConfig, Rendering
from MorseCore.renderers.subdivide import SubdivideConfig

__all__ = [
    "RENDERERS",
    "DenseConfig",
    "MiseConfig",
    "RefineConfig",
    "ReleasedMiseConfig",
    "Renderer",
    "RendererConfig",
    "Rendering",
    "SubdivideConfig",
]

RENDERERS: Registry[Any] = Registry("renderer", default="refine")  # models of format 1
RENDERERS.register("dense", DenseConfig, "every pixel")
RENDERERS.register("refine", RefineConfig, "PointRend (CVPR 2020), MORSE (MICCAI 2023)")
RENDERERS.register("subdivide", SubdivideConfig, "PointRend (CVPR 2020)")
RENDERERS.register("mise", MiseConfig, "Occupancy Networks (CVPR 2019), SwIPE (MICCAI 2023)")
RENDERERS.register("mise_released", ReleasedMiseConfig, "SwIPE (MICCAI 2023), its released code")
