"""Everything a configuration can name, with its paper and its class."""

import inspect
from dataclasses import dataclass

from MorseCore.backbones import BACKBONES
from MorseCore.heads import HEADS
from MorseCore.heads.i2layer import gate_shaping, orthogonality
from MorseCore.losses import SCHEDULES, point_cross_entropy, region_loss, render_weight
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import SAMPLERS

__all__ = ["Method", "list_methods"]

_MORSE = "MORSE (MICCAI 2023)"
_SWIPE = "SwIPE (MICCAI 2023)"
_I2NET = "I²Net (MICCAI 2024)"
_PAPERS = {
    ("backbone", "unet"): f"Ronneberger 2015, in {_MORSE}",
    ("backbone", "unet3d"): f"Cicek 2016, in {_MORSE}",
    ("backbone", "unet_bilinear"): f"Ronneberger 2015, in {_I2NET}",
    ("backbone", "transunet"): f"TransUNet (Chen 2021), in {_MORSE}",
    ("backbone", "unetr"): f"UNETR (WACV 2022), in {_MORSE} and {_SWIPE}",
    ("backbone", "resnet"): f"ResNet (CVPR 2016), in {_I2NET}",
    ("backbone", "res2net"): f"Res2Net (TPAMI 2019), in {_SWIPE}",
    ("head", "plain"): "baseline of all papers",
    ("head", "morse"): _MORSE,
    ("head", "moe"): f"{_MORSE}, Table 1: dense mixture of experts, no rendering",
    ("head", "smoe"): f"{_MORSE}, Table 1: stochastic mixture of experts, no rendering",
    ("head", "iar"): f"{_MORSE}, Table 1: rendering without experts",
    ("head", "iar+moe"): f"{_MORSE}, Table 1: rendering with a dense mixture",
    ("head", "pointrend"): f"PointRend (CVPR 2020), {_MORSE}, Table 1",
    ("head", "implicit_pointrend"): f"Implicit PointRend (CVPR 2022), {_MORSE}, Table 1",
    ("head", "i2net"): _I2NET,
    ("head", "ifa"): f"IFA (ECCV 2022), the static row of {_I2NET}",
    ("head", "iosnet"): f"IOSNet (MICCAI 2022), in {_I2NET} and {_SWIPE}",
    ("head", "swipe"): _SWIPE,
    ("sampler", "all"): "every pixel",
    ("sampler", "stride"): "I2Net (MICCAI 2024)",
    ("sampler", "uncertain"): f"PointRend (CVPR 2020), {_MORSE}",
    ("sampler", "precomputed"): _SWIPE,
    ("renderer", "dense"): "every pixel",
    ("renderer", "refine"): f"PointRend (CVPR 2020), {_MORSE}",
    ("renderer", "subdivide"): "PointRend (CVPR 2020)",
    ("renderer", "mise"): f"Occupancy Networks (CVPR 2019), {_SWIPE}",
    ("renderer", "mise_released"): f"{_SWIPE}, its released code",
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
    methods.append(_describe("loss", "gs", f"{_I2NET}: L_gs", gate_shaping))
    methods.append(_describe("loss", "lo", f"{_I2NET}: L_lo", orthogonality))
    for name in SCHEDULES:
        place = "Eq. 4" if name == "awa" else "Table 4"
        methods.append(_describe("schedule", name, f"{_MORSE}, {place}", render_weight))
    return methods


def _describe(kind: str, name: str, paper: str, target: object) -> Method:
    summary = (inspect.getdoc(target) or "").splitlines()[0]
    where = f"{target.__module__}.{target.__qualname__}"  # type: ignore[attr-defined]
    return Method(kind, name, paper, where, summary)
