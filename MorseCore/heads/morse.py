"""MORSE and the rows of its Tables 1 and 2: MoE, SMoE, IAR, IAR+MoE and MORSE = IAR+SMoE.

Each row has a dataclass of its own with the options that mean something to it. An option of several
rows means the same in all; :class:`MorseConfig` has every one and explains it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.morse_options import (
    Preset,
    check_options,
    choose_residual,
    fill_sizes,
)
from MorseCore.heads.parts.experts import ExpertFeatures, Routing, StochasticExperts
from MorseCore.heads.parts.feature_head import CoarseSource, FeatureHead
from MorseCore.heads.parts.fourier import Encoding, FourierEncoding
from MorseCore.heads.parts.image_source import ImageSource, ImageSourceKind, make_image_source
from MorseCore.heads.parts.rendering_head import RenderingHead
from MorseCore.heads.plain import refuse_encoder
from MorseCore.heads.pointrend import PointRendHead

__all__ = ["IarConfig", "IarMoeConfig", "MoeConfig", "MorseConfig", "MorseHead", "SmoeConfig"]


@dataclass(frozen=True)
class MorseConfig(HeadConfig):
    """``MORSE``: rendering on the feature of a stochastic mixture."""

    preset: Preset = "default"
    """Fills what is left at 0. ``paper``: width 256, gate of four 3x3 convolutions at full
    resolution (573 GFLOP for a 256x256 slice, 16 TFLOP for a 96^3 window), not residual. ``wide``:
    gate at stride 4, width 256 in 2D and 64 in 3D. ``default``: width 64 and gate at stride 8 in
    2D, 32 and 4 in 3D, rendering width 128. ``custom``: nothing, all sizes are given."""
    experts: int = 0
    """N, the finest N maps of the pyramid; 0 takes all."""
    width: int = 0
    """Width of x_out, and of experts, gate and fuse MLP (256 in the paper)."""
    dropout: float = 0.1
    """Channel dropout of x_out before the coarse classifier."""
    gate_depth: int = 4
    """3x3 convolutions of the gate (the released code has 2)."""
    gate_stride: int = 0
    """Stride r at which the gate runs; 1 is the paper's."""
    drop_rate: float = 0.7
    """alpha: probability that an expert is left out in a training step."""
    routing: Routing = "renorm"
    """How left-out experts are handled, see :func:`draw_expert_mask`; ``dense`` is plain MoE."""
    frequencies: int = 128
    """L: the positional encoding has 2L features."""
    sigma: float = 1.0
    """Standard deviation of the encoding's frequencies at the start."""
    positional_encoding: Encoding = "trainable"
    """``trainable`` is Eq. 3, ``uniform_fixed`` the released code, see :class:`FourierEncoding`."""
    render_width: int = 0
    """Width of the rendering head's three hidden layers (the released code has 512)."""
    reinject: bool = True
    """Feed the coarse logits to every layer of the rendering head (as the released code does)."""
    residual: bool | None = None
    """Rendered logits = coarse logits + head. A deviation from the paper: rendering starts as the
    identity, so a head that trained for only half of a short run does no harm. null: the preset's,
    which is false in ``paper`` and true elsewhere; true is refused in ``paper``."""
    coarse_source: CoarseSource = "mixture"
    """Coarse logits v: ``mixture`` classifies x_out, of whatever it is made; ``backbone`` the
    finest decoder map, as the released 2D code does, see :class:`FeatureHead`."""
    image: ImageSourceKind = "none"
    """What one more expert reads in the image itself, at the points: ``stem`` two convolutions at
    its own resolution, ``raw`` intensities, see :mod:`MorseCore.heads.parts.image_source`. Not in
    the paper."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_options(self)
        _settle_residual(self)

    def filled(self, spec: PyramidSpec) -> "MorseConfig":
        """With the preset's sizes; ``coarse_source`` backbone is refused on an encoder."""
        _check_coarse_source(self.coarse_source, spec)
        return fill_sizes(self, spec)

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        filled = self.filled(spec)
        experts = _experts(
            filled, spec, routing=filled.routing, drop_rate=filled.drop_rate,
            image=_image_source(filled, spec),
        )  # fmt: skip
        return MorseHead(
            spec, experts,
            num_classes=num_classes, dropout=filled.dropout, coarse_source=filled.coarse_source,
            rendering=partial(_rendering, filled, spec, num_classes=num_classes),
        )  # fmt: skip


@dataclass(frozen=True)
class IarMoeConfig(HeadConfig):
    """``+IAR+MoE``: rendering on the feature of a dense mixture; see :class:`MorseConfig`."""

    preset: Preset = "default"
    """Fills what is left at 0."""
    experts: int = 0
    """N, the finest N maps; 0 takes all."""
    width: int = 0
    """Width of x_out, experts, gate and fuse MLP."""
    dropout: float = 0.1
    """Channel dropout of x_out before the coarse classifier."""
    gate_depth: int = 4
    """3x3 convolutions of the gate."""
    gate_stride: int = 0
    """Stride at which the gate runs."""
    frequencies: int = 128
    """L, of the positional encoding."""
    sigma: float = 1.0
    """Standard deviation of its frequencies at the start."""
    positional_encoding: Encoding = "trainable"
    """Whether they are trained, and how they are drawn."""
    render_width: int = 0
    """Width of the rendering head."""
    reinject: bool = True
    """Feed the coarse logits to every layer of the rendering head."""
    residual: bool | None = None
    """Add the coarse logits to its answer; null: the preset's."""
    coarse_source: CoarseSource = "mixture"
    """Coarse logits of x_out or of the finest decoder map."""
    image: ImageSourceKind = "none"
    """What is read in the image itself, at the points."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_options(self)
        _settle_residual(self)

    def filled(self, spec: PyramidSpec) -> "IarMoeConfig":
        """See :meth:`MorseConfig.filled`."""
        _check_coarse_source(self.coarse_source, spec)
        return fill_sizes(self, spec)

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        filled = self.filled(spec)
        return MorseHead(
            spec, _experts(filled, spec, image=_image_source(filled, spec)),
            num_classes=num_classes, dropout=filled.dropout, coarse_source=filled.coarse_source,
            rendering=partial(_rendering, filled, spec, num_classes=num_classes),
        )  # fmt: skip


@dataclass(frozen=True)
class IarConfig(HeadConfig):
    """``+IAR``: rendering on the feature of a linear pyramid; see :class:`MorseConfig`."""

    preset: Preset = "default"
    """Fills what is left at 0."""
    experts: int = 0
    """The finest maps that x_out is made of; 0 takes all."""
    width: int = 0
    """Width of x_out."""
    dropout: float = 0.1
    """Channel dropout of x_out before the coarse classifier."""
    frequencies: int = 128
    """L, of the positional encoding."""
    sigma: float = 1.0
    """Standard deviation of its frequencies at the start."""
    positional_encoding: Encoding = "trainable"
    """Whether they are trained, and how they are drawn."""
    render_width: int = 0
    """Width of the rendering head."""
    reinject: bool = True
    """Feed the coarse logits to every layer of the rendering head."""
    residual: bool | None = None
    """Add the coarse logits to its answer; null: the preset's."""
    coarse_source: CoarseSource = "mixture"
    """Coarse logits of x_out or of the finest decoder map."""
    image: ImageSourceKind = "none"
    """What is read in the image itself, at the points."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_options(self)
        _settle_residual(self)

    def filled(self, spec: PyramidSpec) -> "IarConfig":
        """See :meth:`MorseConfig.filled`."""
        _check_coarse_source(self.coarse_source, spec)
        return fill_sizes(self, spec)

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "PointRendHead":
        """The head."""
        filled = self.filled(spec)
        image = _image_source(filled, spec)
        beside = 0 if image is None else image.channels
        return PointRendHead(
            spec, num_classes=num_classes, levels=filled.experts, width=filled.width,
            dropout=filled.dropout, coarse_source=filled.coarse_source, image=image,
            rendering=partial(_rendering, filled, spec, num_classes=num_classes, beside=beside),
        )  # fmt: skip


@dataclass(frozen=True)
class SmoeConfig(HeadConfig):
    """``+SMoE``: stochastic routing, no rendering; see :class:`MorseConfig`."""

    preset: Preset = "default"
    """Fills what is left at 0."""
    experts: int = 0
    """N, the finest N maps; 0 takes all."""
    width: int = 0
    """Width of x_out, experts, gate and fuse MLP."""
    dropout: float = 0.1
    """Channel dropout of x_out before the classifier."""
    gate_depth: int = 4
    """3x3 convolutions of the gate."""
    gate_stride: int = 0
    """Stride at which the gate runs."""
    drop_rate: float = 0.7
    """alpha: probability that an expert is left out in a training step."""
    routing: Routing = "renorm"
    """How left-out experts are handled."""

    def __post_init__(self) -> None:
        check_options(self)

    def filled(self, spec: PyramidSpec) -> "SmoeConfig":
        """With the preset's sizes."""
        return fill_sizes(self, spec)

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        filled = self.filled(spec)
        experts = _experts(filled, spec, routing=filled.routing, drop_rate=filled.drop_rate)
        return MorseHead(spec, experts, num_classes=num_classes, dropout=filled.dropout)


@dataclass(frozen=True)
class MoeConfig(HeadConfig):
    """``+MoE``: all experts in every step, no rendering; see :class:`MorseConfig`."""

    preset: Preset = "default"
    """Fills what is left at 0."""
    experts: int = 0
    """N, the finest N maps; 0 takes all."""
    width: int = 0
    """Width of x_out, experts, gate and fuse MLP."""
    dropout: float = 0.1
    """Channel dropout of x_out before the classifier."""
    gate_depth: int = 4
    """3x3 convolutions of the gate."""
    gate_stride: int = 0
    """Stride at which the gate runs."""

    def __post_init__(self) -> None:
        check_options(self)

    def filled(self, spec: PyramidSpec) -> "MoeConfig":
        """With the preset's sizes."""
        return fill_sizes(self, spec)

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        filled = self.filled(spec)
        experts = _experts(filled, spec)
        return MorseHead(spec, experts, num_classes=num_classes, dropout=filled.dropout)


_Mixture = MorseConfig | IarMoeConfig | SmoeConfig | MoeConfig
_Rendering = MorseConfig | IarMoeConfig | IarConfig


class MorseHead(FeatureHead):
    """MORSE = SMoE + IAR, and what is left of it without stochastic routing or without rendering.

    x_out is the output of a mixture of experts; experts may be left out in training, and there may
    be a rendering head.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        experts: StochasticExperts,
        *,
        num_classes: int,
        dropout: float,
        coarse_source: CoarseSource = "mixture",
        rendering: Callable[[], RenderingHead] | None = None,
    ) -> None:
        """:param dropout: of the channels of x_out before the coarse classifier.
        :param rendering: makes the rendering head; None for none.
        """
        super().__init__(dropout=dropout, coarse_source=coarse_source)
        self.experts = experts
        self.set_answers(spec, width=experts.width, num_classes=num_classes, rendering=rendering)

    def features(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> ExpertFeatures:
        """x_out; in training mode with one draw of experts an image."""
        mask = image_mask = None
        if self.training:
            mask = self.experts.draw_mask(pyramid, generator=generator)
            image_mask = self.experts.draw_image_mask(len(mask), generator=generator)
        if image_mask is not None:
            image_mask = image_mask.to(pyramid.levels[-1].device)
        return self.experts(pyramid, mask, image=image, image_mask=image_mask)

    def image_parameters(self) -> list[nn.Parameter]:
        """The image's expert's, its gate included."""
        return [] if self.experts.image is None else list(self.experts.image.parameters())


def _settle_residual(config: _Rendering) -> None:
    """At once rather than in ``filled``, so that a model folder says what the model does."""
    residual = choose_residual(config.preset, config.residual)
    object.__setattr__(config, "residual", residual)  # the class is frozen


def _check_coarse_source(source: CoarseSource, spec: PyramidSpec) -> None:
    if source == "backbone":
        refuse_encoder(spec, what="The 'coarse_source' backbone")


def _image_source(filled: _Rendering, spec: PyramidSpec) -> ImageSource | None:
    return make_image_source(filled.image, spec, channels=filled.image_channels)


def _experts(
    filled: _Mixture,
    spec: PyramidSpec,
    *,
    routing: Routing = "dense",
    drop_rate: float = 0.0,
    image: ImageSource | None = None,
) -> StochasticExperts:
    return StochasticExperts(
        spec, experts=filled.experts, width=filled.width, gate_depth=filled.gate_depth,
        gate_stride=filled.gate_stride, routing=routing, drop_rate=drop_rate, image=image,
    )  # fmt: skip


def _rendering(
    filled: _Rendering, spec: PyramidSpec, *, num_classes: int, beside: int = 0
) -> RenderingHead:
    """The rendering head, with so many features ``beside`` x_out."""
    encoding = FourierEncoding(
        spec.spatial_dims, filled.frequencies, sigma=filled.sigma, kind=filled.positional_encoding
    )
    return RenderingHead(
        filled.width + beside, width=filled.render_width, num_classes=num_classes,
        encoding=encoding, reinject=filled.reinject, residual=bool(filled.residual),
    )  # fmt: skip
