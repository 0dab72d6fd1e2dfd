"""The I²Net head: an implicit field whose network has other parameters at every point.

``B`` batch, ``P`` points, ``D`` dimensions of space, ``K`` pattern learners, ``C`` classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import Head, HeadConfig
from MorseCore.heads.i2net.decoder import Decoded, I2Decoder
from MorseCore.heads.i2net.fields import I2GridField, I2PointField
from MorseCore.heads.i2net.layer import gate_shaping, orthogonality
from MorseCore.heads.parts.latents import (
    Ensemble,
    LatentCodes,
    LevelProjection,
    RelativeEncoding,
    code_length,
)
from MorseCore.heads.parts.pointhead import PointHead
from MorseCore.heads.parts.pointwise import PointwiseLinear
from MorseCore.losses import ClassWeighting, Targets, point_region_loss
from MorseCore.points import grid_coords, pixel_axes, sample_grid
from MorseCore.samplers import Sampler

__all__ = ["I2Net", "I2NetConfig", "I2NetGrid", "I2NetPoints"]


@dataclass(frozen=True)
class I2NetConfig(HeadConfig):
    """Sizes of an :class:`I2Net`; the defaults are those of the published Glas model."""

    learners: int = 3
    """K, pattern learners an I²Layer; 3 or 4 are best in the paper, the released file has 6. With 1
    the network is static (IFA) and has neither gate nor its losses."""
    output: Literal["auto", "grid", "points"] = "auto"
    """``grid``: the INR makes a feature map at ``grid_stride``, which is up-sampled and joined with
    the finest map of the backbone (Glas). ``points``: it gives logits at any point (Cityscapes).
    ``auto``: ``grid`` where the backbone has both kinds of maps for it."""
    grid_stride: int = 4
    """Of ``grid``: the INR is evaluated on this grid, from the maps that are no finer."""
    planes: int = 64
    """inner_planes: width to which every level is projected."""
    widths: tuple[int, ...] | None = None
    """Outputs of the I²Layers; null: [128, 64] for ``grid``, [512, 256, 256] for ``points``, after
    which a layer with the classes follows."""
    gate_widths: tuple[int, ...] | None = None
    """Hidden layers of the gate; null: [128] for ``grid``, [256, 128] for ``points``."""
    encoding: RelativeEncoding = "none"
    """``ultra_pe`` adds sinusoids of the relative coordinates; off in the published model."""
    frequencies: int = 6
    """Of ``ultra_pe``, an axis."""
    ensemble: Ensemble = "none"
    """Let the 2^D nearest cells answer in place of one, see :class:`LatentCodes`."""
    shaping_weight: float = 0.25
    """lambda_gs, weight of L_gs; 0 leaves it out."""
    sharpen: float = 1.0
    """Weight of L_gis in L_gs; 0 only for the ablation."""
    balance: float = 0.5
    """lambda_ges, weight of L_ges in L_gs."""
    orthogonal_weight: float = 0.25
    """lambda_lo, weight of L_lo; 0 leaves it out."""
    orthogonal_biases: bool = True
    """L_lo on weights and biases (paper) or on weights alone (released code)."""
    second_order: bool = True
    """Differentiate L_lo through the gradients in it, as the released code does; else only a
    first-order approximation, which saves the double backward pass."""

    def __post_init__(self) -> None:
        for name in ("learners", "grid_stride", "planes", "frequencies"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be positive; found {getattr(self, name)}.")
        for name in ("shaping_weight", "sharpen", "balance", "orthogonal_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"'{name}' must not be negative; found {getattr(self, name)}.")
        if self.widths is not None and (not self.widths or min(self.widths) < 1):
            raise ConfigError(f"'widths' needs one or more positive numbers; found {self.widths}.")
        if self.gate_widths and min(self.gate_widths) < 1:
            raise ConfigError(f"'gate_widths' must be positive; found {self.gate_widths}.")

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "I2Net":
        """The head.

        :raises ConfigError: if ``grid`` is asked for and the backbone has no suitable maps.
        """
        coarse = [stride >= self.grid_stride for stride in spec.strides]
        fits = any(coarse) and not all(coarse)
        if self.output == "grid" and not fits:
            raise ConfigError(
                f"'output' is grid, which needs maps of the backbone on both sides of stride "
                f"{self.grid_stride}; it has the strides {spec.strides}."
            )
        head = I2NetPoints if self.output == "points" or not fits else I2NetGrid
        return head(self, spec, num_classes=num_classes)


class I2Net(Head):
    """I²Net: latent codes of the nearest features, decoded by I²Layers under a shared gate.

    In the paper's terms INR(p, F; Theta) = f_Theta({z_i*, p - p_i*}_i) with Theta = Theta(p), see
    :class:`LatentCodes`, :class:`I2Decoder` and :class:`I2Layer`.
    L = L_seg + lambda_gs L_gs + lambda_lo L_lo: ``sup`` is L_seg, half CE and half Dice (the paper
    leaves it open), ``gs`` gate shaping, ``lo`` learner orthogonalisation. For K = 1 the last two
    are 0 or undefined, and there is ``sup`` alone.
    """

    def __init__(
        self,
        config: I2NetConfig,
        spec: PyramidSpec,
        *,
        levels: int,
        widths: Sequence[int],
        gate_widths: Sequence[int],
    ) -> None:
        super().__init__()
        self.config, self.levels = config, levels
        self.project = LevelProjection(spec.spatial_dims, spec.channels[:levels], config.planes)
        inputs = code_length(
            levels, config.planes, spatial_dims=spec.spatial_dims,
            encoding=config.encoding, frequencies=config.frequencies,
        )  # fmt: skip
        if config.gate_widths is not None:
            gate_widths = config.gate_widths
        self.decoder = I2Decoder(inputs, widths, gate_widths=gate_widths, learners=config.learners)
        weights = {"sup": 1.0}
        if config.learners > 1:
            weights |= {"gs": config.shaping_weight, "lo": config.orthogonal_weight}
        self.loss_weights = {name: weight for name, weight in weights.items() if weight > 0}

    def codes(self, pyramid: Pyramid) -> LatentCodes:
        """Latent codes of the coarsest ``levels`` maps."""
        return LatentCodes(
            self.project(pyramid.levels[: self.levels]),
            encoding=self.config.encoding,
            frequencies=self.config.frequencies,
            ensemble=self.config.ensemble,
        )

    def regularised(
        self, supervised: Tensor, decoded: Decoded | None, active: Collection[str]
    ) -> dict[str, Tensor]:
        """Losses by name, of those in ``active``, around L_seg.

        :raises ValueError: if L_gs or L_lo is wanted of a field made without gradients.
        """
        config, wanted = self.config, set(active) & set(self.loss_weights)
        result = {"sup": supervised} if "sup" in wanted else {}
        if wanted <= {"sup"}:
            return result
        if decoded is None:
            raise ValueError("L_gs and L_lo need a field that was prepared with gradients.")
        if "gs" in wanted:
            result["gs"] = gate_shaping(
                decoded.log_gates, sharpen=config.sharpen, balance=config.balance
            )
        if "lo" in wanted:
            result["lo"] = orthogonality(
                supervised, decoded.records,
                biases=config.orthogonal_biases, second_order=config.second_order,
            )  # fmt: skip
        return result


class I2NetGrid(I2Net):
    """The published Glas model: INR at stride 4, x2 up-sampling, joined with the stem, 1x1.

    The released model ends at stride 2 with a hard-coded up-sampling to 512 x 512; here the logits
    are interpolated wherever they are asked for. The finest map of the backbone takes the place of
    the stem, and up-sampling goes to its size.
    """

    def __init__(self, config: I2NetConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        levels = sum(stride >= config.grid_stride for stride in spec.strides)
        widths = config.widths or (128, 64)
        super().__init__(config, spec, levels=levels, widths=widths, gate_widths=(128,))
        self.classify = PointwiseLinear(widths[-1] + spec.channels[-1], num_classes)

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """Evaluate the INR on its grid; the field interpolates what came out."""
        codes, stem = self.codes(pyramid), pyramid.levels[-1]
        grid = tuple(max(1, n // self.config.grid_stride) for n in pyramid.size)
        axes = pixel_axes(grid, device=stem.device)
        coords = grid_coords(axes).expand(stem.shape[0], -1, -1)
        decoded = self.decoder(codes(coords))
        features = _to_map(codes.combine(decoded.values, coords), grid)
        features = sample_grid(features, pixel_axes(stem.shape[2:], device=stem.device))
        values = self.classify.on_map(torch.cat([features, stem], dim=1))
        gates = _to_map(codes.combine(decoded.log_gates.exp(), coords), grid)
        kept = decoded if torch.is_grad_enabled() else None
        return I2GridField(values, pyramid.size, gates=gates, decoded=kept)

    def losses(
        self,
        field: Field,
        targets: Targets,
        *,
        sampler: Sampler,
        active: Collection[str],
        stride: int = 1,
        cell: int = 1,
        weighting: ClassWeighting = "none",
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See :class:`Head`: ``sup`` is taken on the map, ``gs`` and ``lo`` on the INR's grid."""
        if not isinstance(field, I2GridField):
            raise TypeError("This head takes losses of its own fields only.")
        supervised = super().losses(
            field,
            targets,
            sampler=sampler,
            active=("sup",),
            stride=stride,
            cell=cell,
            weighting=weighting,
            generator=generator,
        )["sup"]
        return self.regularised(supervised, field.decoded, active)


class I2NetPoints(I2Net, PointHead):
    """The Cityscapes form: the INR itself gives logits, at any point.

    Losses are taken at the sampler's points; the paper's are the dense grid of stride 4.
    """

    def __init__(self, config: I2NetConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        widths = (*(config.widths or (512, 256, 256)), num_classes)
        super().__init__(
            config, spec, levels=len(spec.channels), widths=widths, gate_widths=(256, 128)
        )

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A field that decodes the codes of each point it is asked for."""
        return I2PointField(self.decoder, self.codes(pyramid), pyramid.size)

    def point_losses(
        self,
        field: Field,
        coords: Tensor,
        labels: Tensor,
        *,
        active: Collection[str],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See :class:`PointHead`: all three at the same points."""
        if not isinstance(field, I2PointField):
            raise TypeError("This head takes losses of its own fields only.")
        logits, decoded = field.decode(coords)
        return self.regularised(point_region_loss(logits, labels), decoded, active)


def _to_map(points: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, N, C) of a grid's points in row-major order -> (B, C, *size)."""
    return points.transpose(1, 2).reshape(points.shape[0], -1, *size)
