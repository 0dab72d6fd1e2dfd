"""Stochastic mixture of experts over decoder maps (MORSE §2, SMoE), as one continuous function.

``B`` batch, ``E`` experts, ``W`` feature width, ``P`` points, ``*S`` space.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import conv
from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.heads.parts.image_expert import ImageExpert
from MorseCore.heads.parts.image_source import ImageFeatures, ImageSource, needed_image
from MorseCore.heads.parts.pointwise import PointwiseMLP
from MorseCore.points import (
    Axes,
    as_table,
    centre_index,
    gather_points,
    pixel_axes,
    sample_grid,
    sample_maps,
    sample_maps_on_grid,
    sample_rows,
    to_rows,
)
from MorseCore.system.seeds import home_of

__all__ = ["ExpertFeatures", "Routing", "StochasticExperts", "draw_expert_mask", "mix_weights"]

Routing = Literal["renorm", "released", "dense"]
_GATE = -1  # the gate's rows, beside those of the experts 0, 1, …


def draw_expert_mask(
    batch: int,
    experts: int,
    *,
    drop_rate: float,
    routing: Routing,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Which experts take part in this training step: (B, E) bool, at least one in each row.

    ``renorm``: each expert is left out with probability alpha = ``drop_rate``, independently per
    sample; a row that would lose all keeps one drawn at random (with alpha 0.7
    that is 17 % of the rows for 5 experts and 34 % for 3). ``released``: the authors' code, which
    drops r ~ Uniform{0 … E-1} experts for the whole batch. ``dense``: all stay (MoE).
    """
    home = home_of(generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=home)

    if routing == "dense":
        return torch.ones(batch, experts, dtype=torch.bool)
    if routing == "released":
        dropped = int(torch.randint(0, experts, (1,), generator=generator, device=home))
        return (uniform(experts).argsort() >= dropped).expand(batch, experts)
    keep = uniform(batch, experts) >= drop_rate
    spare = functional.one_hot((uniform(batch) * experts).long().clamp(max=experts - 1), experts)
    return torch.where(keep.any(dim=1, keepdim=True), keep, spare.bool())


def mix_weights(gate: Tensor, mask: Tensor | None, *, routing: Routing, dim: int) -> Tensor:
    """Mixture weights from gate logits along ``dim`` (the experts), under an expert mask.

    ``renorm``: softmax over the surviving experts, so the weights sum to one in training and at
    test alike (Eq. 1). ``released``: softmax over all experts, then the mask, which changes the
    scale of the features in training.

    :param gate: logits with E along ``dim``; batch first.
    :param mask: (B, E) bool, or None for all experts.
    """
    if mask is None:
        return _softmax(gate, dim)
    shape = [1] * gate.ndim
    shape[0], shape[dim] = mask.shape
    mask = mask.view(shape)
    if routing in ("renorm", "dense"):
        return _softmax(gate.masked_fill(~mask, float("-inf")), dim)
    return _softmax(gate, dim) * mask


def _softmax(gate: Tensor, dim: int) -> Tensor:
    """Across few experts; where they lie side by side torch takes ten times as long."""
    return gate.movedim(dim, 0).contiguous().softmax(0).movedim(0, dim)


class StochasticExperts(nn.Module):
    """x_out(p) = fuse( sum_i W_i(p) F_i(p) ): experts, gate and fuse MLP.

    Expert i is a two-layer MLP on decoder map i at the map's own resolution; ReLU does not commute
    with interpolation, so up-sampling first would be another function. F_i(p) samples its output,
    except for a map at full resolution, which is sampled before its MLP: the same at pixel centres,
    and then only the asked points are computed. The gate (MORSE Eq. 1, 3x3 convolutions, the last
    one linear and zero at the start, so that training begins with the plain mean) runs at stride
    ``gate_stride`` on expert outputs brought there (finer maps averaged before their MLP, coarser
    ones interpolated after it); its *logits* are interpolated to p and the softmax is taken there,
    so the weights still sum to one. ``gate_stride = 1`` with four convolutions of width 256 is the
    paper's gate, and then nothing is averaged or interpolated beyond the paper's up-sampling.

    With an image source there is one expert more, at the points that are rendered only: the coarse
    map and the coarse logits are what they are without it, see :class:`ImageExpert`. In training it
    is left out like the others; one of the pyramid's always stays.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        *,
        experts: int,
        width: int,
        gate_depth: int,
        gate_stride: int,
        routing: Routing = "dense",
        drop_rate: float = 0.0,
        image: ImageSource | None = None,
    ) -> None:
        """:param experts: E, of the finest maps.
        :param width: W.
        :param gate_depth: convolutions of the gate.
        :param drop_rate: alpha, of ``routing`` renorm.
        :param image: what one more expert reads at the points; None for none.
        """
        super().__init__()
        self.width, self.gate_stride = width, gate_stride
        self.routing, self.drop_rate = routing, drop_rate
        channels = spec.channels[-experts:]
        self.experts = nn.ModuleList(PointwiseMLP([c, width, width]) for c in channels)
        self.gate = _gate(spec.spatial_dims, experts=experts, width=width, depth=gate_depth)
        self.fuse = PointwiseMLP([width, width, width])
        self.image = None if image is None else ImageExpert(image, width=width)

    def draw_mask(self, pyramid: Pyramid, *, generator: torch.Generator | None = None) -> Tensor:
        """Who takes part in a step of training: (B, E) bool, see :func:`draw_expert_mask`."""
        finest = pyramid.levels[-1]
        return draw_expert_mask(
            finest.shape[0], len(self.experts), drop_rate=self.drop_rate, routing=self.routing,
            generator=generator,
        ).to(finest.device)  # fmt: skip

    def draw_image_mask(
        self, batch: int, *, generator: torch.Generator | None = None
    ) -> Tensor | None:
        """For which images the image's expert takes part in a step of training: (B,) bool.

        None: for all. Drawn after the others, which are drawn as if it did not exist.
        """
        if self.image is None or self.routing == "dense":
            return None
        draw = torch.rand(batch, generator=generator, device=home_of(generator))
        return draw >= self.drop_rate

    def forward(
        self,
        pyramid: Pyramid,
        mask: Tensor | None,
        *,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> "ExpertFeatures":
        """Everything the points share.

        :param mask: (B, E) bool in training, None for all experts.
        :param image: (B, C, *S), where there is an expert that reads it.
        :param image_mask: (B,) bool, for which images it does; None for all.
        """
        levels = pyramid.levels[-len(self.experts) :]
        grid = tuple(max(1, -(-n // self.gate_stride)) for n in pyramid.size)
        rows, inputs = [], []
        for expert, level in zip(self.experts, levels, strict=True):
            assert isinstance(expert, PointwiseMLP)
            value = None
            if tuple(level.shape[2:]) != pyramid.size:
                rows.append(expert.on_pixels(level))
                value = rows[-1].transpose(1, 2).unflatten(2, level.shape[2:])
            inputs.append(_gate_input(expert, level, value, grid))
        if mask is not None and self.routing != "released":
            # A dropped expert is not seen by the gate either; by the authors' it is.
            shape = (-1, 1, *[1] * len(grid))
            inputs = [x * mask[:, n].view(shape).to(x.dtype) for n, x in enumerate(inputs)]
        gate = self.gate(torch.cat(inputs, dim=1))
        seen = None if self.image is None else self.image.source(needed_image(image))
        return ExpertFeatures(
            self, rows, levels, gate, mask, pyramid.size, seen=seen, image_mask=image_mask
        )


class ExpertFeatures:
    """The feature x_out of one batch of images, at points and on grids."""

    def __init__(
        self,
        module: StochasticExperts,
        rows: list[Tensor],
        levels: Sequence[Tensor],
        gate: Tensor,
        mask: Tensor | None,
        size: tuple[int, ...],
        *,
        seen: ImageFeatures | None = None,
        image_mask: Tensor | None = None,
    ) -> None:
        """:param rows: what the experts say of the coarser maps, (B, N, W) each.
        :param levels: all maps, coarse to fine; those without rows are at full resolution.
        """
        self._module = module
        # One table for all, so that a point is one gather.
        self._table = as_table(torch.cat(rows, dim=1)) if rows else None
        self._sizes = [tuple(level.shape[2:]) for level in levels[: len(rows)]]
        self._fine = levels[len(rows) :]
        self.gate, self.mask, self.size = gate, mask, size
        self.seen, self.image_mask = seen, image_mask
        self._rows: dict[int, Tensor] = {}

    @property
    def batch(self) -> int:
        return self.gate.shape[0]

    @property
    def device(self) -> torch.device:
        return self.gate.device

    def __call__(self, coords: Tensor) -> Tensor:
        """x_out at coordinates: (B, P, D) -> (B, P, W)."""
        fused: Tensor = self._module.fuse(self._mix(coords, self._gate_at(coords)))
        return fused

    def pair(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """x_out for the coarse logits, and for rendering: with the image's expert, if any."""
        gate = self._gate_at(coords)
        mixed = self._mix(coords, gate)
        fused: Tensor = self._module.fuse(mixed)
        if self.seen is None:
            return fused, fused
        feature, weight = self._look_up(coords, mixed, gate)
        rendered: Tensor = self._module.fuse(torch.lerp(mixed, feature.to(mixed.dtype), weight))
        return fused, rendered

    def _look_up(self, coords: Tensor, mixed: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """The image's expert at coordinates: feature (B, P, W) and weight (B, P, 1)."""
        expert, seen = self._module.image, self.seen
        assert expert is not None  # both are there, or neither
        assert seen is not None
        if self.mask is not None:
            gate = gate.masked_fill(~self.mask[:, None], float("-inf"))
        feature, weight = expert(seen, coords, mixed, gate)
        if self.image_mask is not None:
            weight = weight * self.image_mask.to(weight)[:, None, None]
        return feature, weight.to(mixed.dtype)

    def _mix(self, coords: Tensor, gate: Tensor) -> Tensor:
        """sum_i W_i(p) F_i(p) over the pyramid's experts: (B, P, D), (B, P, E) -> (B, P, W)."""
        weights = self._weights(gate, dim=2)
        mixed, coarser = None, len(self._sizes)
        if self._table is not None:
            mixed = sample_maps(self._table, self._sizes, coords, weights[..., :coarser])
        pixels = self._pixels(coords)
        for n, level in enumerate(self._fine, start=coarser):
            expert = self._module.experts[n]
            feature = (
                expert.on_pixels(gather_points(level, pixels).transpose(1, 2)) if pixels is not None  # type: ignore[operator]
                else expert(sample_rows(self._rows_of(n, level), self.size, coords))
            )  # fmt: skip
            mixed = _add(mixed, weights[..., n, None], feature)
        assert mixed is not None  # there is at least one expert
        return mixed

    def on_grid(self, axes: Axes) -> Tensor:
        """x_out on a product grid: (B, W, *lengths of the axes), the channels last in memory."""
        weights = self._weights(sample_grid(self.gate, axes), dim=1).flatten(2).transpose(1, 2)
        mixed, coarser = None, len(self._sizes)
        if self._table is not None:
            mixed = sample_maps_on_grid(self._table, self._sizes, axes, weights[..., :coarser])
        for n, level in enumerate(self._fine, start=coarser):
            feature = self._module.experts[n].on_pixels(sample_grid(level, axes))  # type: ignore[operator]
            mixed = _add(mixed, weights[..., n, None], feature)
        fused: Tensor = self._module.fuse(mixed)
        return fused.transpose(1, 2).unflatten(2, [len(axis) for axis in axes])

    def weights(self, coords: Tensor) -> Tensor:
        """Mixture weights W_i of what is rendered: (B, P, D) -> (B, P, E).

        With the image's expert (B, P, E + 1), its own last.
        """
        gate = self._gate_at(coords)
        weights = self._weights(gate, dim=2)
        if self.seen is None:
            return weights
        _, own = self._look_up(coords, self._mix(coords, gate), gate)
        return torch.cat([weights * (1 - own), own.to(weights.dtype)], dim=-1)

    def memory(self) -> int:
        """Bytes of the experts' rows, and of the other maps twice: as maps, and as rows for points.

        And of the image, where it is read at the points.
        """
        maps = sum(x.nbytes + 4 * x.numel() for x in (self.gate, *self._fine))
        maps += 0 if self._table is None else self._table.nbytes
        return maps + (0 if self.seen is None else self.seen.memory())

    def _gate_at(self, coords: Tensor) -> Tensor:
        """The gate's logits: (B, P, D) -> (B, P, E)."""
        return sample_rows(self._rows_of(_GATE, self.gate), self.gate.shape[2:], coords)

    def _weights(self, gate: Tensor, *, dim: int) -> Tensor:
        return mix_weights(gate, self.mask, routing=self._module.routing, dim=dim)

    def _pixels(self, coords: Tensor) -> Tensor | None:
        """Which pixels of the maps at full resolution are asked, if coordinates are centres.

        The renderer asks for pixels, and so do samplers, for each one once: gradients need not be
        added up, as they are for points between pixels (see :func:`to_rows`). Not on a GPU, which
        would have to be waited for.
        """
        is_shared = coords.shape[0] != self.batch  # one image for all
        if self.device.type != "cpu" or not self._fine or is_shared:
            return None
        return centre_index(coords, self.size)

    def _rows_of(self, number: int, values: Tensor) -> Tensor:
        """The rows of a map, made when it is first sampled."""
        if number not in self._rows:
            self._rows[number] = to_rows(values)
        return self._rows[number]


def _add(total: Tensor | None, weight: Tensor, feature: Tensor) -> Tensor:
    """Add W_i F_i without storing it by itself; in place where no gradient needs the old sum."""
    if total is None:
        return weight * feature
    fits = total.dtype == torch.promote_types(weight.dtype, feature.dtype)
    if torch.is_grad_enabled() or not fits:
        return torch.addcmul(total, weight, feature)
    return total.addcmul_(weight, feature)


def _gate(spatial_dims: int, *, experts: int, width: int, depth: int) -> nn.Sequential:
    convolution = conv(spatial_dims)
    layers: list[nn.Module] = []
    inputs = experts * width
    for _ in range(depth - 1):
        groups = next(g for g in (8, 4, 2, 1) if width % g == 0)
        layers += [
            convolution(inputs, width, 3, padding=1, bias=False),
            nn.GroupNorm(groups, width),
            nn.ReLU(inplace=True),
        ]
        inputs = width
    last = convolution(inputs, experts, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _gate_input(
    expert: PointwiseMLP, level: Tensor, value: Tensor | None, grid: tuple[int, ...]
) -> Tensor:
    """The expert's output at the gate's resolution: averaged before, or interpolated after it.

    :param value: the output at the map's own, if that is known already.
    """
    size = tuple(level.shape[2:])
    if size != grid and all(a >= b for a, b in zip(size, grid, strict=True)):
        return expert.on_map(functional.interpolate(level, size=grid, mode="area"))
    return sample_grid(
        expert.on_map(level) if value is None else value, pixel_axes(grid, device=level.device)
    )
