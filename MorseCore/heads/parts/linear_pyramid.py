"""Point features without experts: the decoder maps merged by linear layers, coarse to fine.

``B`` batch, ``P`` points, ``W`` feature width, ``C_l`` channels of level l, ``*S`` space.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.heads.parts.image_source import ImageFeatures
from MorseCore.heads.parts.pointwise import PointwiseLinear
from MorseCore.points import Axes, pixel_axes, sample_grid, sample_rows, to_rows

__all__ = ["LinearPyramid", "LinearPyramidFeatures"]


class LinearPyramid(nn.Module):
    """x_out of MORSE's rows without MoE (IAR, PointRend): the released ``FeatureExtractor``.

    The paper says nothing of them. In the code, from the coarsest map on: x <- x + A_l x, up-sample
    to the next level, concatenate that level's map; last, x_out = B x + b. There is no activation,
    so the whole is linear in the decoder maps, and B commutes with interpolation: here it is
    applied to x and the finest map *sampled at the point*, equal at the pixel centres of the
    finest map, continuous in between, and 256 channels at full resolution are never stored.
    Up-sampling has pixel centres where they are (``align_corners=False``), in the code not.
    """

    def __init__(self, spec: PyramidSpec, *, levels: int, width: int) -> None:
        """:param levels: how many maps take part, the finest ones.
        :param width: W.
        """
        super().__init__()
        *sums, total = accumulate(spec.channels[-levels:])
        self.mix = nn.ModuleList(PointwiseLinear(n, n, bias=False) for n in sums)
        self.project = PointwiseLinear(total, width)

    def forward(
        self, pyramid: Pyramid, seen: ImageFeatures | None = None
    ) -> "LinearPyramidFeatures":
        """Everything the points share; ``seen``: what the image shows them, beside x_out."""
        *coarser, finest = pyramid.levels[-(len(self.mix) + 1) :]
        merged: Tensor | None = None
        for mix, level in zip(self.mix, coarser, strict=True):
            if merged is None:
                merged = level
            else:
                axes = pixel_axes(level.shape[2:], device=level.device)
                merged = torch.cat([sample_grid(merged, axes), level], dim=1)
            merged = merged + mix.on_map(merged)  # type: ignore[operator]
        maps = [finest] if merged is None else [merged, finest]
        return LinearPyramidFeatures(self, maps, pyramid.size, seen)


class LinearPyramidFeatures:
    """x_out of one batch of images; see :class:`PointFeatures`."""

    def __init__(
        self,
        module: LinearPyramid,
        maps: list[Tensor],
        size: tuple[int, ...],
        seen: ImageFeatures | None = None,
    ) -> None:
        self._module, self._maps, self.size, self.seen = module, maps, size, seen
        self._rows: list[Tensor] | None = None

    @property
    def batch(self) -> int:
        return self._maps[0].shape[0]

    @property
    def device(self) -> torch.device:
        return self._maps[0].device

    def __call__(self, coords: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = [to_rows(x) for x in self._maps]
        parts = [
            sample_rows(rows, x.shape[2:], coords)
            for rows, x in zip(self._rows, self._maps, strict=True)
        ]
        features: Tensor = self._module.project(torch.cat(parts, dim=-1))
        return features

    def pair(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """x_out, and x_out with what the image shows at the points, if it is looked at."""
        features = self(coords)
        if self.seen is None:
            return features, features
        return features, torch.cat([features, self.seen(coords).to(features.dtype)], dim=-1)

    def on_grid(self, axes: Axes) -> Tensor:
        parts = [sample_grid(x, axes) for x in self._maps]
        return self._module.project.on_map(torch.cat(parts, dim=1))

    def weights(self, coords: Tensor) -> None:
        return None

    def memory(self) -> int:
        maps = 2 * sum(x.nbytes for x in self._maps)
        return maps + (0 if self.seen is None else self.seen.memory())
