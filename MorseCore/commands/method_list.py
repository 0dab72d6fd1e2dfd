"""Everything a configuration can name, with its paper and its class."""

import inspect
from dataclasses import dataclass

from MorseCore.backbones import BACKBONES
from MorseCore.heads import HEADS
from MorseCore.heads.i2net.layer import gate_shaping, orthogonality
from MorseCore.heads.implicit_pointrend import ImplicitPointRendHead
from MorseCore.heads.parts.experts import StochasticExperts
from MorseCore.heads.parts.image_expert import ImageExpert
from MorseCore.heads.swipe.head import SwipeHead
from MorseCore.losses import SCHEDULES, point_cross_entropy, region_loss, render_weight
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS
from MorseCore.training.presampling import draw_points

__all__ = ["Method", "list_methods"]

_MORSE = "MORSE (MICCAI 2023)"
_SWIPE = "SwIPE (MICCAI 2023)"
_I2NET = "I²Net (MICCAI 2024)"
_SWIPE_LOSSES = {"patch": "L^P", "image": "L^I", "spo": "L_SPO", "emb": "|z^P|^2 + |z^I|^2"}


@dataclass(frozen=True)
class Method:
    """One name that a configuration may use."""

    kind: str
    name: str
    paper: str
    where: str
    """Module and class."""
    summary: str


def list_methods() -> list[Method]:
    """All backbones, heads, samplers, renderers, losses, schedules, and what is part of them."""
    methods = []
    for registry in (BACKBONES, HEADS, SAMPLERS, RENDERERS):
        for name in registry:
            built = inspect.get_annotations(registry[name].build, eval_str=False)["return"]
            module = inspect.getmodule(registry[name])
            assert module is not None
            target = getattr(module, str(built).strip('"'))
            methods.append(_describe(registry.kind, name, registry.paper_of(name), target))
    methods.append(_describe("loss", "sup", f"{_MORSE}: L_sup", region_loss))
    methods.append(_describe("loss", "rend", f"{_MORSE}: L_rend", point_cross_entropy))
    paper = "Implicit PointRend (CVPR 2022): mean square of the predicted parameters"
    methods.append(_describe("loss", "param", paper, ImplicitPointRendHead))
    for name, term in _SWIPE_LOSSES.items():
        methods.append(_describe("loss", name, f"{_SWIPE}: {term}", SwipeHead))
    methods.append(_describe("loss", "gs", f"{_I2NET}: L_gs", gate_shaping))
    methods.append(_describe("loss", "lo", f"{_I2NET}: L_lo", orthogonality))
    for name in SCHEDULES:
        place = "Eq. 4" if name == "awa" else "Table 4"
        methods.append(_describe("schedule", name, f"{_MORSE}, {place}", render_weight))
    paper = "this project's, after PointRend (CVPR 2020): `network.head.image`"
    methods.append(_describe("component", "image_expert", paper, ImageExpert))
    paper = f"{_MORSE}: one expert a decoder map, a pyramid of receptive fields"
    methods.append(_describe("component", "expert_pyramid", paper, StochasticExperts))
    paper = f"{_SWIPE}: points by Latin hypercube sampling, the sampler `precomputed`"
    methods.append(_describe("component", "latin_hypercube", paper, draw_points))
    return methods


def _describe(kind: str, name: str, paper: str, target: object) -> Method:
    summary = (inspect.getdoc(target) or "").splitlines()[0]
    where = f"{target.__module__}.{target.__qualname__}"  # type: ignore[attr-defined]
    return Method(kind, name, paper, where, summary)
