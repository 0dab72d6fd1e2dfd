"""Everything a configuration can name, with its paper and its class."""

import inspect
from dataclasses import dataclass

from MorseCore.backbones import BACKBONES
from MorseCore.heads import HEADS
from MorseCore.losses import SCHEDULES, point_cross_entropy, region_loss, render_weight
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS

__all__ = ["Method", "list_methods"]

_MORSE = "MORSE (MICCAI 2023)"
_PAPERS = {
    ("backbone", "unet"): f"Ronneberger 2015, in {_MORSE}",
    ("backbone", "unet3d"): f"Cicek 2016, in {_MORSE}",
    ("head", "plain"): "baseline of all papers",
    ("head", "morse"): _MORSE,
    ("sampler", "uncertain"): f"PointRend (CVPR 2020), {_MORSE}",
    ("renderer", "dense"): "every pixel",
    ("renderer", "refine"): f"PointRend (CVPR 2020), {_MORSE}",
}


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
    """All backbones, heads, samplers, renderers, losses and schedules."""
    methods = []
    for registry in (BACKBONES, HEADS, SAMPLERS, RENDERERS):
        for name in registry:
            built = inspect.get_annotations(registry[name].build, eval_str=False)["return"]
            module = inspect.getmodule(registry[name])
            assert module is not None
            target = getattr(module, str(built).strip('"'))
            paper = _PAPERS.get((registry.kind, name), "not stated")
            methods.append(_describe(registry.kind, name, paper, target))
    methods.append(_describe("loss", "sup", f"{_MORSE}: L_sup", region_loss))
    methods.append(_describe("loss", "rend", f"{_MORSE}: L_rend", point_cross_entropy))
    for name in SCHEDULES:
        place = "Eq. 4" if name == "awa" else "Table 4"
        methods.append(_describe("schedule", name, f"{_MORSE}, {place}", render_weight))
    return methods


def _describe(kind: str, name: str, paper: str, target: object) -> Method:
    summary = (inspect.getdoc(target) or "").splitlines()[0]
    where = f"{target.__module__}.{target.__qualname__}"  # type: ignore[attr-defined]
    return Method(kind, name, paper, where, summary)
