"""MORSE and its rows with experts: MoE, SMoE, IAR+MoE and MORSE = IAR+SMoE (Tables 1 and 2)."""

from dataclasses import dataclass
from functools import partial

import torch

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.heads.experts import ExpertFeatures, ExpertSizes, StochasticExperts
from MorseCore.heads.feature_head import CoarseSource, FeatureHead
from MorseCore.heads.morse_options import (
    FeatureOptions,
    GateOptions,
    RenderingOptions,
    RoutingOptions,
)

__all__ = ["IarMoeConfig", "MixtureOptions", "MoeConfig", "MorseConfig", "MorseHead", "SmoeConfig"]


@dataclass(frozen=True)
class MixtureOptions(GateOptions, FeatureOptions):
    """What the rows with experts share."""

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        return MorseHead(self.filled(spec), spec, num_classes=num_classes)


@dataclass(frozen=True)
class MoeConfig(MixtureOptions):
    """``+MoE``: all experts in every step, no rendering."""


@dataclass(frozen=True)
class SmoeConfig(RoutingOptions, MixtureOptions):
    """``+SMoE``: stochastic routing, no rendering."""


@dataclass(frozen=True)
class IarMoeConfig(RenderingOptions, MixtureOptions):
    """``+IAR+MoE``: rendering on the feature of a dense mixture."""


@dataclass(frozen=True)
class MorseConfig(RenderingOptions, RoutingOptions, MixtureOptions):
    """``MORSE``: rendering on the feature of a stochastic mixture."""


class MorseHead(FeatureHead):
    """MORSE = SMoE + IAR, and what is left of it without stochastic routing or without rendering.

    x_out is the output of a mixture of experts; the configuration says whether experts are left out
    in training and whether there is a rendering head.
    """

    def __init__(self, config: MixtureOptions, spec: PyramidSpec, *, num_classes: int) -> None:
        """:param config: with the preset's values filled in."""
        rendering = None
        coarse_source: CoarseSource = "mixture"
        if isinstance(config, RenderingOptions):
            coarse_source = config.coarse_source
            rendering = partial(
                config.build_rendering, spec, features=config.width, num_classes=num_classes
            )
        super().__init__(dropout=config.dropout, coarse_source=coarse_source)
        self.config = config
        routing = config if isinstance(config, RoutingOptions) else RoutingOptions(routing="dense")
        sizes = ExpertSizes(
            config.experts, config.width, config.gate_depth, config.gate_stride,
            routing.drop_rate, routing.routing,
        )  # fmt: skip
        self.experts = StochasticExperts(spec, sizes)
        self.set_answers(spec, width=config.width, num_classes=num_classes, rendering=rendering)

    def features(
        self, pyramid: Pyramid, *, generator: torch.Generator | None = None
    ) -> ExpertFeatures:
        """x_out; in training mode with one draw of experts an image."""
        mask = self.experts.draw_mask(pyramid, generator=generator) if self.training else None
        return self.experts(pyramid, mask)
