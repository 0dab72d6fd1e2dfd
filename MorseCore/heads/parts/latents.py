"""Latent codes of a point: per level of a pyramid the nearest feature, and where the point lies.

``B`` batch, ``P`` points, ``D`` dimensions of space, ``L`` levels, ``N`` neighbours, ``Z`` length
of a code.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from MorseCore.backbones.layers import batch_norm, conv
from MorseCore.heads.parts.fourier import sinusoids
from MorseCore.points import to_rows

__all__ = [
    "Ensemble",
    "LatentCodes",
    "LevelProjection",
    "RelativeEncoding",
    "code_length",
]

Ensemble = Literal["none", "mean", "area"]
RelativeEncoding = Literal["none", "ultra_pe"]


class LevelProjection(nn.Module):
    """1x1 convolution, batch normalisation and ReLU for each level, to one width.

    The convolution has no bias: the normalisation would subtract it.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                conv(spatial_dims)(inputs, width, 1, bias=False),
                batch_norm(spatial_dims)(width),
                nn.ReLU(inplace=True),
            )
            for inputs in channels
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """(B, C_l, *S_l) each -> (B, width, *S_l) each."""
        return [layer(level) for layer, level in zip(self.levels, levels, strict=True)]


def code_length(
    levels: int, width: int, *, spatial_dims: int, encoding: RelativeEncoding, frequencies: int
) -> int:
    """Z, of what :class:`LatentCodes` answers."""
    extra = 2 * spatial_dims * frequencies if encoding == "ultra_pe" else 0
    return levels * (spatial_dims + extra + width)


class LatentCodes:
    """z(p) = [p - p_l*, z_l*] of all levels, with z_l* the nearest feature (I²Net, IFA).

    The argument {z_i*, p - p_i*}_i of the paper's INR, whose level i is l here. p_l* is the centre
    of the cell of level l that holds p. The difference is multiplied per axis by that level's size,
    so that it runs from -1 to 1 through a cell on every level. Order (x, y[, z]) (the released code
    has row before column).

    With an *ensemble* the 2^D nearest cells answer in place of one, as in LIIF: corner n of a point
    is made of the n-th neighbour on every level. ``mean`` weighs them alike. ``area`` weighs as
    linear interpolation would, averaged over the levels: with one level a neighbour is left with
    weight 0, and the answer is continuous; with several it only jumps less. (In the released code
    the sum over the neighbours is overwritten in each turn, and the last one answers alone.)

    :param maps: (B, W, *S_l) each.
    """

    def __init__(
        self,
        maps: Sequence[Tensor],
        *,
        encoding: RelativeEncoding = "none",
        frequencies: int = 6,
        ensemble: Ensemble = "none",
    ) -> None:
        self.rows = [to_rows(level) for level in maps]
        self.sizes = [tuple(level.shape[2:]) for level in maps]
        self._encoding, self._frequencies, self._ensemble = encoding, frequencies, ensemble

    def __call__(self, coords: Tensor) -> Tensor:
        """(B, P, D) in [-1, 1] -> (B, N * P, Z), neighbour by neighbour; N = 1 or 2^D."""
        if self._ensemble == "none":
            return self._code(coords, None)
        corners = range(2 ** coords.shape[-1])
        return torch.cat([self._code(coords, corner) for corner in corners], dim=1)

    def combine(self, values: Tensor, coords: Tensor) -> Tensor:
        """Answers to the codes of ``coords`` (B, N * P, C) -> answers to the points (B, P, C)."""
        if self._ensemble == "none":
            return values
        batch, points, dims = coords.shape
        values = values.view(batch, 2**dims, points, -1)
        if self._ensemble == "mean":
            return values.mean(1)
        return (values * self._area_weights(coords)[..., None].to(values.dtype)).sum(1)

    def memory(self) -> int:
        """Bytes that the features take."""
        return sum(rows.nbytes for rows in self.rows)

    def _code(self, coords: Tensor, corner: int | None) -> Tensor:
        parts = []
        for rows, size in zip(self.rows, self.sizes, strict=True):
            index, relative = _cell(coords, size, corner)
            start = torch.arange(rows.shape[0], device=index.device)[:, None] * rows.shape[1]
            features = rows.flatten(0, 1)[(index + start).flatten()]
            parts.append(relative.to(features.dtype))
            if self._encoding == "ultra_pe":
                parts.append(sinusoids(relative, self._frequencies).to(features.dtype))
            parts.append(features.view(*index.shape, -1))
        return torch.cat(parts, dim=-1)

    def _area_weights(self, coords: Tensor) -> Tensor:
        """(B, N, P), summing to one over the neighbours."""
        dims = coords.shape[-1]
        fractions = []
        for size in self.sizes:
            x = _position(coords, size)
            fractions.append(x - x.floor())
        weights = []
        for corner in range(2**dims):
            sides = [(corner >> axis) & 1 for axis in range(dims)]
            upper = torch.tensor(sides, dtype=torch.bool, device=coords.device)
            each = [torch.where(upper, fraction, 1 - fraction) for fraction in fractions]
            weights.append(torch.stack(each).prod(-1).mean(0))
        return torch.stack(weights, dim=1)


def _position(coords: Tensor, size: Sequence[int]) -> Tensor:
    """Coordinates in cells, 0 at the centre of the first: (B, P, D), order (x, y[, z])."""
    cells = torch.tensor(size[::-1], dtype=coords.dtype, device=coords.device)
    return ((coords + 1) * cells - 1) / 2


def _cell(coords: Tensor, size: Sequence[int], corner: int | None) -> tuple[Tensor, Tensor]:
    """Flat index (B, P) of a cell near each point, and the point relative to it (B, P, D).

    :param corner: bit d says whether the neighbour above or below is meant along coordinate d;
        None means the nearest.
    """
    x = _position(coords, size)
    if corner is None:
        cell = torch.floor(x + 0.5)
    else:
        sides = [(corner >> axis) & 1 for axis in range(len(size))]
        cell = torch.floor(x) + torch.tensor(sides, dtype=x.dtype, device=x.device)
    last = torch.tensor(size[::-1], dtype=x.dtype, device=x.device) - 1
    cell = cell.clamp_min(0).minimum(last)
    index = torch.zeros(coords.shape[:-1], dtype=torch.long, device=coords.device)
    for axis, n in enumerate(size):
        index = index * n + cell[..., len(size) - 1 - axis].long()
    return index, 2 * (x - cell)  # half a cell is 1
