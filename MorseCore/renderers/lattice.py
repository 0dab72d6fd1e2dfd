"""Nested lattices of a grid's pixels and the cells between their points (for MISE).

The lattice of stride s has the pixels 0, s, 2s … of each axis and the last one; a *cell* is the box
between neighbouring points, so there is one cell fewer an axis (one cell for an axis of one
pixel). Lattices are nested where strides are powers of two. Masks are (B, *L) of a lattice's
points or (B, *K) of its cells.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from MorseCore.renderers.renderer import interpolate

__all__ = [
    "corners_of",
    "dilate_cells",
    "disagreeing_cells",
    "flat_index",
    "interpolate_lattice",
    "lattice",
    "pad_rows",
    "split_cells",
    "within",
]

Lattice = Sequence[Tensor]
"""Pixel numbers along each array axis, rising."""


def lattice(size: Sequence[int], stride: int, *, device: torch.device) -> list[Tensor]:
    """Every ``stride``-th pixel along each axis, and the last."""
    points = [sorted({*range(0, n, stride), n - 1}) for n in size]
    return [torch.tensor(axis, device=device) for axis in points]


def disagreeing_cells(labels: Tensor) -> Tensor:
    """The cells (B, *K) that have corners of different labels (B, *L)."""
    low = high = labels
    for axis in range(1, labels.ndim):
        n = labels.shape[axis] - 1
        if n:
            low = torch.minimum(low.narrow(axis, 0, n), low.narrow(axis, 1, n))
            high = torch.maximum(high.narrow(axis, 0, n), high.narrow(axis, 1, n))
    return low != high


def dilate_cells(cells: Tensor, rings: int) -> Tensor:
    """Cells (B, *K) and their neighbours, diagonal ones too, so many rings of them."""
    for _ in range(rings):
        for axis in range(1, cells.ndim):
            n = cells.shape[axis] - 1
            wider = cells.clone()
            wider.narrow(axis, 0, n).logical_or_(cells.narrow(axis, 1, n))
            wider.narrow(axis, 1, n).logical_or_(cells.narrow(axis, 0, n))
            cells = wider
    return cells


def corners_of(cells: Tensor, points: Lattice) -> Tensor:
    """The lattice points (B, *L) that are a corner of one of the cells (B, *K)."""
    for axis, along in enumerate(points, start=1):
        n = len(along) - 1
        if n:
            wider = cells.new_zeros([*cells.shape[:axis], n + 1, *cells.shape[axis + 1 :]])
            wider.narrow(axis, 0, n).logical_or_(cells)
            wider.narrow(axis, 1, n).logical_or_(cells)
            cells = wider
    return cells


def split_cells(cells: Tensor, coarse: Lattice, fine: Lattice) -> Tensor:
    """Cells of a lattice as cells of a finer one: (B, *K) -> (B, *K')."""
    for axis, (a, b) in enumerate(zip(coarse, fine, strict=True), start=1):
        if len(b) > 1:
            parent = torch.searchsorted(a, b[:-1], right=True) - 1
            cells = cells.index_select(axis, parent)
    return cells


def within(coarse: Lattice, fine: Lattice) -> tuple[Any, ...]:
    """The index of a lattice's points in a map (..., *L') of a finer one."""
    places = [torch.searchsorted(b, a) for a, b in zip(coarse, fine, strict=True)]
    return (..., *torch.meshgrid(*places, indexing="ij"))


def interpolate_lattice(values: Tensor, coarse: Lattice, fine: Lattice) -> Tensor:
    """Linear interpolation: (B, C, *L) -> (B, C, *L') float32, unchanged where known."""
    if all(len(a) == len(b) for a, b in zip(coarse, fine, strict=True)):
        return values.float()
    places = []
    for a, b in zip(coarse, fine, strict=True):
        below = (torch.searchsorted(a, b, right=True) - 1).clamp(max=max(len(a) - 2, 0))
        above = (below + 1).clamp(max=len(a) - 1)
        share = (b - a[below]) / (a[above] - a[below]).clamp(min=1)
        places.append((2 * (below + share) + 1) / len(a) - 1)
    result = interpolate(values, places)
    result[within(coarse, fine)] = values.to(result.dtype)
    return result


def flat_index(index: Tensor, points: Lattice, size: Sequence[int]) -> Tensor:
    """Flat index of lattice points as that of the grid's pixels: (B, P) -> (B, P)."""
    result = torch.zeros_like(index)
    step = 1
    for along, n in zip(reversed(points), reversed(list(size)), strict=True):
        result = result + step * along[index % len(along)]
        index = index // len(along)
        step *= n
    return result


def pad_rows(wanted: Tensor) -> tuple[Tensor, int]:
    """Positions of the true entries of (B, N) bool as (B, P), and how many there are altogether.

    P is the most of an image, since a field is asked for equally many points of each. Shorter rows
    end with 0: the first pixel belongs to every lattice, so it is asked in any case.
    """
    rows = [row.nonzero()[:, 0] for row in wanted]
    return pad_sequence(rows, batch_first=True, padding_value=0), sum(map(len, rows))
