"""The grid of patches: which one holds a point, which are its neighbours, where its centre is.

``B`` batch, ``P`` points, ``N`` patches, ``K`` neighbours, ``D`` dimensions. A patch is named by
its flat row-major index in the grid.
"""

import itertools
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from MorseCore.points import coords_to_index, index_to_coords
from MorseCore.system.seeds import home_of

__all__ = [
    "Neighbourhood",
    "draw_neighbours",
    "gather_rows",
    "local_coords",
    "neighbourhood",
    "patch_at",
    "patch_grid",
]


def patch_grid(size: Sequence[int], stride: int) -> tuple[int, ...]:
    """Patches an axis: of ``stride`` pixels, or a little less where the size is no multiple."""
    return tuple(-(-n // stride) for n in size)


def patch_at(coords: Tensor, grid: Sequence[int]) -> Tensor:
    """The patch (B, P) whose cell of the grid contains each coordinate (B, P, D)."""
    return coords_to_index(coords, grid)


def local_coords(coords: Tensor, patch: Tensor, grid: Sequence[int]) -> Tensor:
    """p^P = p^I - centre of the patch, not rescaled (SwIPE's paper and code): (B, P, D).

    Centres follow our convention, (2i + 1)/n - 1; the released code divides by n - 1, which is
    half a pixel off.
    """
    return coords - index_to_coords(patch, grid)


class Neighbourhood:
    """The neighbours of every patch of a grid, those inside the grid first.

    :param table: (N, K) patches; where a patch has fewer than K, itself.
    :param count: (N,) how many of the K are neighbours.
    """

    def __init__(self, table: Tensor, count: Tensor) -> None:
        self.table, self.count = table, count

    def of(self, patch: Tensor) -> tuple[Tensor, Tensor]:
        """Each patch (B, P) and its neighbours: (B, P, 1 + K), and which of them are there."""
        patches = torch.cat([patch[..., None], self.table[patch]], dim=-1)
        number = torch.arange(patches.shape[-1], device=patch.device)
        return patches, number <= self.count[patch][..., None]


def neighbourhood(
    grid: Sequence[int], neighbours: int, *, device: torch.device | str = "cpu"
) -> Neighbourhood:
    """Neighbours that share a face (con = 4 in 2D, 6 in 3D) or also an edge or corner (8, 26)."""
    steps = itertools.product((-1, 0, 1), repeat=len(grid))
    distance = 1 if neighbours == 2 * len(grid) else len(grid)
    offsets = [s for s in steps if 0 < sum(map(abs, s)) <= distance]
    cells = torch.cartesian_prod(*(torch.arange(n, device=device) for n in grid))
    cells = cells.view(prod(grid), len(grid))
    moved = cells[:, None] + torch.tensor(offsets, device=device)  # (N, K, D)
    size = torch.tensor(list(grid), device=device)
    inside = ((moved >= 0) & (moved < size)).all(-1)
    own = torch.arange(len(cells), device=device)[:, None]
    flat = torch.zeros_like(moved[..., 0])
    for axis, n in enumerate(grid):
        flat = flat * n + moved[..., axis]
    order = (~inside).int().argsort(dim=1, stable=True)
    table = torch.where(inside, flat, own).gather(1, order)
    return Neighbourhood(table, inside.sum(1))


def draw_neighbours(
    patch: Tensor, near: Neighbourhood, *, copies: int, generator: torch.Generator | None = None
) -> Tensor:
    """A random neighbour for each of N_SPO copies of each point: (B, P) -> (B, copies, P) (SPO).

    Drawn with replacement and uniformly from the neighbours inside the grid. The released code
    draws from all eight and reflects at the lower border, but at the upper one falls back to the
    patch itself, so that one to three eighths of the copies there learn nothing new. In a grid of
    a single patch a point stays where it is.
    """
    home = home_of(generator)
    shape = (patch.shape[0], copies, patch.shape[1])
    draw = torch.rand(shape, generator=generator, device=home).to(patch.device)
    count = near.count[patch][:, None]
    # rand may round up to the count in float32
    pick = torch.minimum((draw * count).long(), (count - 1).clamp(min=0))
    own = patch[:, None].expand(shape)
    return near.table[own, pick]


def gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of a table per image: (B, N, W) at (B, P) -> (B, P, W)."""
    batch, count, width = rows.shape
    offset = torch.arange(batch, device=index.device)[:, None] * count
    picked = rows.reshape(batch * count, width).index_select(0, (index + offset).flatten())
    return picked.view(*index.shape, width)
