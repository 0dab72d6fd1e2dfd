"""The MORSE head: stochastic mixture of experts, then implicit rendering of uncertain points."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.experts import (
    ExpertFeatures,
    ExpertSizes,
    Routing,
    StochasticExperts,
    draw_expert_mask,
)
from MorseCore.heads.fourier import FourierEncoding
from MorseCore.heads.head import Head
from MorseCore.heads.pointwise import PointwiseLinear
from MorseCore.points import Axes

__all__ = ["MorseConfig", "MorseHead", "RenderingHead"]

Preset = Literal["paper", "default", "cpu", "custom"]


@dataclass(frozen=True)
class MorseConfig:
    """Sizes of a :class:`MorseHead`. A preset fills what is left at 0."""

    preset: Preset = "default"
    """``paper``: width 256, gate of four 3x3 convolutions at full resolution (573 GFLOP for a
    256x256 slice, 16 TFLOP for a 96^3 window). ``default``: gate at stride 4, width 256 in 2D and
    64 in 3D. ``cpu``: gate at stride 4, width 64 in 2D and 32 in 3D, rendering width 128."""
    experts: int = 0
    """N, the finest N maps of the pyramid; 0 takes all."""
    width: int = 0
    """Feature width of experts, gate and fuse MLP (256 in the paper)."""
    gate_depth: int = 4
    """3x3 convolutions of the gate."""
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
    render_width: int = 0
    """Width of the rendering head's three hidden layers."""
    reinject: bool = True
    """Feed the coarse logits to every layer of the rendering head (as the released code does)."""
    residual: bool = True
    """Rendered logits = coarse logits + head. A deviation from the paper: rendering starts as the
    identity, so a head that trained for only half of a short run does no harm. ``paper`` is off."""
    dropout: float = 0.1
    """Channel dropout of x_out before the coarse classifier."""

    def __post_init__(self) -> None:
        if not 0 <= self.drop_rate < 1:
            raise ConfigError(f"'drop_rate' must lie in [0, 1); found {self.drop_rate}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"'dropout' must lie in [0, 1); found {self.dropout}.")
        for name in ("experts", "width", "gate_stride", "render_width"):
            if getattr(self, name) < 0:
                raise ConfigError(f"'{name}' must not be negative; found {getattr(self, name)}.")
        if self.gate_depth < 1 or self.frequencies < 1 or self.sigma <= 0:
            raise ConfigError("'gate_depth', 'frequencies' and 'sigma' must be positive.")

    def filled(self, spec: PyramidSpec) -> "MorseConfig":
        """With every 0 replaced by the preset's value.

        :raises ConfigError: if more experts are asked for than the pyramid has maps.
        """
        is_2d = spec.spatial_dims == 2
        width, stride, render_width = {
            "paper": (256, 1, 256),
            "default": (256 if is_2d else 64, 4, 256),
            "cpu": (64 if is_2d else 32, 4, 128),
            "custom": (self.width, self.gate_stride, self.render_width),
        }[self.preset]
        filled = replace(
            self,
            experts=self.experts or len(spec.channels),
            width=self.width or width,
            gate_stride=self.gate_stride or stride,
            render_width=self.render_width or render_width,
            residual=self.residual and self.preset != "paper",
        )
        if filled.experts > len(spec.channels):
            raise ConfigError(
                f"'experts' is {filled.experts}, but the backbone has {len(spec.channels)} maps."
            )
        if not (filled.width and filled.gate_stride and filled.render_width):
            raise ConfigError(
                "The preset 'custom' needs 'width', 'gate_stride' and 'render_width'."
            )
        return filled

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "MorseHead":
        """The head."""
        return MorseHead(self.filled(spec), spec, num_classes=num_classes)


class RenderingHead(nn.Module):
    """MLP on [psi(p), x_out(p), v(p)]: three hidden layers and a predictor (MORSE §2, IAR).

    The paper lists psi and x_out; its code and PointRend, by which it is inspired, also feed the
    coarse logits v. The predictor starts at N(0, 0.001).
    """

    def __init__(self, config: MorseConfig, *, spatial_dims: int, num_classes: int) -> None:
        super().__init__()
        self.encoding = FourierEncoding(spatial_dims, config.frequencies, sigma=config.sigma)
        self.reinject, self.residual = config.reinject, config.residual
        extra = num_classes if config.reinject else 0
        inputs = 2 * config.frequencies + config.width + num_classes
        layers = []
        for _ in range(3):
            layers.append(nn.Linear(inputs, config.render_width))
            inputs = config.render_width + extra
        self.hidden = nn.ModuleList(layers)
        self.predict = nn.Linear(inputs, num_classes)
        nn.init.normal_(self.predict.weight, std=0.001)
        nn.init.zeros_(self.predict.bias)

    def forward(self, coords: Tensor, features: Tensor, coarse: Tensor) -> Tensor:
        """(B, P, D), (B, P, W), (B, P, C) -> rendered logits (B, P, C)."""
        x = torch.cat([self.encoding(coords).to(features.dtype), features, coarse], dim=-1)
        for layer in self.hidden:
            x = functional.relu(layer(x), inplace=True)
            if self.reinject:
                x = torch.cat([x, coarse], dim=-1)
        logits: Tensor = self.predict(x)
        return coarse + logits if self.residual else logits


class MorseHead(Head):
    """MORSE = SMoE + IAR. Coarse logits come from the mixture: v = Linear(dropout(x_out)).

    In the released 2D code the mixture only feeds the points and the evaluated logits are the
    backbone's own, so that "MoE" would have no effect on them.
    """

    def __init__(self, config: MorseConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.config = config
        sizes = ExpertSizes(
            config.experts, config.width, config.gate_depth, config.gate_stride,
            config.drop_rate, config.routing,
        )  # fmt: skip
        self.experts = StochasticExperts(spec, sizes)
        self.classify = PointwiseLinear(config.width, num_classes)
        self.render = RenderingHead(config, spatial_dims=spec.spatial_dims, num_classes=num_classes)

    def rendering_parameters(self) -> list[nn.Parameter]:
        """The rendering head's, its encoding included."""
        return list(self.render.parameters())

    def prepare(self, pyramid: Pyramid, *, generator: torch.Generator | None = None) -> Field:
        """A :class:`MorseField`; in training mode with one draw of experts and dropout an image."""
        image = pyramid.levels[-1]
        mask = dropout = None
        if self.training:
            config, batch = self.config, image.shape[0]
            mask = draw_expert_mask(
                batch, config.experts, drop_rate=config.drop_rate, routing=config.routing,
                generator=generator,
            ).to(image.device)  # fmt: skip
            dropout = _channel_dropout(
                batch, config.width, rate=config.dropout, generator=generator
            ).to(image)
        return MorseField(self, self.experts(pyramid, mask), dropout)


class MorseField(Field):
    """Coarse logits from the mixture, rendered ones from the rendering head on top of them."""

    def __init__(self, head: MorseHead, features: ExpertFeatures, dropout: Tensor | None) -> None:
        self.size, self.batch = features.size, features.gate.shape[0]
        self._head, self._features, self._dropout = head, features, dropout

    @property
    def device(self) -> torch.device:
        return self._features.gate.device

    def coarse(self, coords: Tensor) -> Tensor:
        return self._classify(self._features(coords))

    def logits(self, coords: Tensor) -> Tensor:
        features = self._features(coords)
        rendered: Tensor = self._head.render(coords, features, self._classify(features))
        return rendered

    def coarse_grid(self, axes: Axes) -> Tensor:
        features = self._features.on_grid(axes)
        if self._dropout is not None:
            shape = (*self._dropout.shape, *[1] * len(self.size))
            features = features * self._dropout.view(shape)
        return self._head.classify.on_map(features)

    def expert_weights(self, coords: Tensor) -> Tensor:
        """Mixture weights W_i: (B, P, D) -> (B, P, E)."""
        return self._features.weights(coords)

    def memory(self) -> int:
        return self._features.memory()

    def _classify(self, features: Tensor) -> Tensor:
        if self._dropout is not None:
            features = features * self._dropout[:, None]
        logits: Tensor = self._head.classify(features)
        return logits


def _channel_dropout(
    batch: int, channels: int, *, rate: float, generator: torch.Generator | None
) -> Tensor:
    """(B, C) factors 0 or 1 / (1 - rate): one draw an image, for its points and maps alike."""
    home = generator.device if generator is not None else torch.device("cpu")
    keep = torch.rand(batch, channels, generator=generator, device=home) >= rate
    return keep / (1 - rate)
