"""Options of the heads in MORSE's Table 1; each head takes those that mean something to it."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.experts import Routing
from MorseCore.heads.feature_head import CoarseSource
from MorseCore.heads.fourier import Encoding, FourierEncoding
from MorseCore.heads.plain import refuse_encoder
from MorseCore.heads.rendering_head import RenderingHead

__all__ = ["FeatureOptions", "GateOptions", "Preset", "RenderingOptions", "RoutingOptions"]

Preset = Literal["paper", "wide", "default", "cpu", "custom"]


class _Options:
    """Each of the classes below checks its own fields, and lets the next one check its."""

    def __post_init__(self) -> None:
        """The last of them."""


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"'{name}' must lie in [0, 1); found {share}.")


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        wanted = "be positive" if least else "not be negative"
        raise ConfigError(f"'{name}' must {wanted}; found {value}.")


@dataclass(frozen=True)
class FeatureOptions(_Options):
    """The feature x_out and its coarse classifier. A preset fills what is left at 0."""

    preset: Preset = "default"
    """``paper``: width 256, gate of four 3x3 convolutions at full resolution (573 GFLOP for a
    256x256 slice, 16 TFLOP for a 96^3 window), not residual. ``wide``: gate at stride 4, width 256
    in 2D and 64 in 3D. ``default``: width 64 and gate at stride 8 in 2D, 32 and 4 in 3D,
    rendering width 128. ``cpu``: so, but with stride 4 in 2D too; older models name it."""
    experts: int = 0
    """N, the finest N maps of the pyramid; 0 takes all."""
    width: int = 0
    """Width of x_out, and of experts, gate and fuse MLP (256 in the paper)."""
    dropout: float = 0.1
    """Channel dropout of x_out before the coarse classifier."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("dropout", self.dropout)
        _check_least("experts", self.experts, 0)
        _check_least("width", self.width, 0)

    def filled(self, spec: PyramidSpec) -> Self:
        """With every 0 replaced by the preset's value.

        :raises ConfigError: if more experts are asked for than the pyramid has maps, or if the
            preset is ``custom`` and a size is missing.
        """
        is_2d = spec.spatial_dims == 2
        width, stride, render_width = {
            "paper": (256, 1, 256),
            "wide": (256 if is_2d else 64, 4, 256),
            "default": (64 if is_2d else 32, 8 if is_2d else 4, 128),
            "cpu": (64 if is_2d else 32, 4, 128),
            "custom": (0, 0, 0),
        }[self.preset]
        sizes = {"width": width, "gate_stride": stride, "render_width": render_width}
        changes = {n: getattr(self, n) or size for n, size in sizes.items() if hasattr(self, n)}
        if not all(changes.values()):
            names = [f"'{name}'" for name in changes]
            listed = ", ".join(names[:-1]) + (" and " if names[:-1] else "") + names[-1]
            raise ConfigError(f"The preset 'custom' needs {listed}.")
        changes["experts"] = self.experts or len(spec.channels)
        if changes["experts"] > len(spec.channels):
            raise ConfigError(
                f"'experts' is {self.experts}, but the backbone has {len(spec.channels)} maps."
            )
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class GateOptions(_Options):
    """The gate of a mixture of experts."""

    gate_depth: int = 4
    """3x3 convolutions of the gate (the released code has 2)."""
    gate_stride: int = 0
    """Stride r at which the gate runs; 1 is the paper's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_least("gate_depth", self.gate_depth, 1)
        _check_least("gate_stride", self.gate_stride, 0)


@dataclass(frozen=True)
class RoutingOptions(_Options):
    """Stochastic routing."""

    drop_rate: float = 0.7
    """alpha: probability that an expert is left out in a training step."""
    routing: Routing = "renorm"
    """How left-out experts are handled, see :func:`draw_expert_mask`; ``dense`` is plain MoE."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share("drop_rate", self.drop_rate)


@dataclass(frozen=True)
class RenderingOptions(FeatureOptions):
    """IAR: positional encoding and rendering head, on the feature x_out."""

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

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_least("frequencies", self.frequencies, 1)
        _check_least("render_width", self.render_width, 0)
        if self.sigma <= 0:
            raise ConfigError("'sigma' must be positive.")
        if self.residual and self.preset == "paper":
            raise ConfigError(
                "The preset 'paper' has 'residual' false; for a residual rendering head of the "
                "paper's sizes take the preset 'custom' and give them."
            )
        if self.residual is None:
            # Here rather than in `filled`, so that a model folder says what the model does. The
            # class is frozen.
            object.__setattr__(self, "residual", self.preset != "paper")

    def filled(self, spec: PyramidSpec) -> Self:
        """With every 0 replaced by the preset's value.

        :raises ConfigError: as :meth:`FeatureOptions.filled`, or if coarse logits shall come from a
            backbone without decoder.
        """
        if self.coarse_source == "backbone":
            refuse_encoder(spec, what="The 'coarse_source' backbone")
        return super().filled(spec)

    def build_rendering(
        self, spec: PyramidSpec, *, features: int, num_classes: int
    ) -> RenderingHead:
        """The rendering head, for ``features`` channels of x_out."""
        encoding = FourierEncoding(
            spec.spatial_dims, self.frequencies, sigma=self.sigma, kind=self.positional_encoding
        )
        return RenderingHead(
            features, width=self.render_width, num_classes=num_classes, encoding=encoding,
            reinject=self.reinject, residual=bool(self.residual),
        )  # fmt: skip
