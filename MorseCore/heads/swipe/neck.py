"""SwIPE's neck E_n: pyramid in, one embedding per patch and one per image out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from MorseCore.backbones.layers import conv
from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.swipe.mea import Fusion, build_fusion
from MorseCore.heads.swipe.patches import patch_grid
from MorseCore.heads.swipe.rfb import RFBLite, conv_norm
from MorseCore.points import pixel_axes, sample_grid

__all__ = ["Embeddings", "Neck", "Resize", "aggregate", "average_pool", "resize_map"]

Resize = Literal["before", "after", "none"]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What the neck makes of a batch of images."""

    patches: Tensor
    """z^P: (B, d, *G), one vector per patch of the grid G."""
    image: Tensor
    """z^I: (B, d), the average over space of the coarsest embedding (paper: F'_5) or of z^P."""


class Neck(nn.Module):
    """E_n (SwIPE): RFB-Lite per level, cascade, 1x1 convolutions to e_n, and MEA, which gives z^P.

    The paper's levels are the four maps of Res2Net at strides 4 to 32, and e_n lives at 32 = S. For
    other backbones: the coarsest maps are taken, e_n lives at the coarsest one's stride, and is
    brought to the S-grid (see :func:`resize_map`).
    """

    def __init__(
        self,
        spec: PyramidSpec,
        *,
        levels: int,
        hidden: int,
        embedding: int,
        patch_stride: int,
        resize: Resize,
        rfb: bool,
        cascade: bool,
        mea: Fusion,
        image_embedding: Literal["coarsest", "patches"],
    ) -> None:
        """Sizes and switches, as :class:`SwipeConfig` explains them."""
        super().__init__()
        self.resize, self.patch_stride = resize, patch_stride
        self.cascade, self.image_embedding = cascade, image_embedding
        dims = spec.spatial_dims
        channels = spec.channels[:levels][::-1]  # fine to coarse, as the cascade runs
        strides = spec.strides[:levels][::-1]
        self.factors = [b // a for a, b in pairwise(strides)]
        self.levels = nn.ModuleList(
            RFBLite(dims, c, hidden) if rfb
            else nn.Sequential(conv_norm(dims, c, hidden, 1), nn.ReLU())
            for c in channels
        )  # fmt: skip
        # Without MEA only the coarsest embedding is used.
        self.used = range(len(channels))[-1:] if mea == "off" else range(len(channels))
        self.embed = nn.ModuleList(conv(dims)(hidden, embedding, 1) for _ in self.used)
        self.fuse = build_fusion(mea, dims, width=embedding, hidden=hidden, levels=len(self.used))

    def forward(self, pyramid: Pyramid) -> Embeddings:
        """z^P on the patch grid and z^I."""
        levels = pyramid.levels[: len(self.levels)][::-1]
        coarse = levels[-1]
        if self.training and coarse.shape[0] == 1 and coarse[0, 0].numel() == 1:
            raise ConfigError(
                f"SwIPE normalises over batch and patches, and cannot be trained on one image of "
                f"size {pyramid.size} at a time: its coarsest map is one pixel. Take a larger crop "
                "or batch."
            )
        maps = [module(level) for module, level in zip(self.levels, levels, strict=True)]
        joined = aggregate(maps, self.factors, cascade=self.cascade)
        embedded = [layer(joined[n]) for n, layer in zip(self.used, self.embed, strict=True)]
        grid = (
            tuple(coarse.shape[2:])
            if self.resize == "none"
            else patch_grid(pyramid.size, self.patch_stride)
        )
        inputs = [resize_map(e, grid) for e in embedded] if self.resize == "before" else embedded
        patches = resize_map(self.fuse(inputs), grid)
        source = embedded[-1] if self.image_embedding == "coarsest" else patches
        return Embeddings(patches, source.flatten(2).mean(2))


def resize_map(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    """A map on another grid: means over blocks where one fits whole into the other, else linear.

    The paper resizes without saying how; the released 3D code takes trilinear interpolation, which
    skips pixels when it shrinks a map by more than two.
    """
    size = tuple(x.shape[2:])
    if size == grid:
        return x
    factors = {a // b if a % b == 0 else 0 for a, b in zip(size, grid, strict=True)}
    if len(factors) == 1 and 0 not in factors:
        return average_pool(x, factors.pop())
    return sample_grid(x, pixel_axes(grid, device=x.device))


def average_pool(x: Tensor, factor: int) -> Tensor:
    """Means over blocks of ``factor`` pixels an axis: (B, C, *S) -> (B, C, *S / factor).

    Written as a reshape: exact, alike in 2D and 3D, and with a deterministic gradient on GPUs.
    """
    if factor == 1:
        return x
    for axis in range(2, x.ndim):
        x = x.unflatten(axis, (-1, factor)).mean(axis + 1)
    return x


def aggregate(maps: Sequence[Tensor], factors: Sequence[int], *, cascade: bool) -> list[Tensor]:
    """One map per level, all at the coarsest resolution.

    With D the average pooling to the next level and a_n the level's own map,
    s_{n+1} = D(a_n + s_n), s of the finest being 0. Level n < L gives D(... D(s_{n+1})), the
    coarsest a_L + s_L: for four levels at strides 4 to 32 the released ``ShapeMapperV3``, with
    s_8 = D(a_4), s_16 = D(a_8 + s_8), s_32 = D(a_16 + s_16), of which e_2 to e_5 are made. The
    paper draws four levels; the rule holds for any number. Without the cascade (ablation) each
    level gives its own map, averaged down.

    :param maps: (B, h, *S_n), fine to coarse.
    :param factors: ratio of each level's stride to that of the next finer one; one fewer than maps.
    """
    if not cascade:
        return [average_pool(a, prod(factors[n:])) for n, a in enumerate(maps)]
    carried: Tensor | None = None
    results = []
    for n, own in enumerate(maps[:-1]):
        carried = average_pool(own if carried is None else own + carried, factors[n])
        results.append(average_pool(carried, prod(factors[n + 1 :])))
    results.append(maps[-1] if carried is None else maps[-1] + carried)
    return results
