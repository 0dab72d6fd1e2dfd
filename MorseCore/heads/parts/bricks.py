"""A local network, computed only in bricks around points, and sampled there.

A *brick* is a cube of ``b`` pixels an axis, one of a lattice that begins at the image's first
pixel. What reaches ``r`` pixels around (the *halo*) can be computed of a brick alone, from
``b + 2 r`` pixels an axis. Beyond the image stands its nearest pixel, as if the image had been
padded so once; therefore a brick's answer is that of the whole image.

``B`` images, ``P`` points, ``K`` = 2^D pixels around a point, ``D`` dimensions, ``N`` bricks,
``C`` channels, ``*S`` space.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Bricks",
    "Corners",
    "find_bricks",
    "find_corners",
    "flat_pixels",
    "rows_in_bricks",
    "weigh_rows",
]

_ROUNDING = 3e-7  # of an axis, in pixels: what a coordinate in single precision may be off
_AT_ONCE = 512  # bricks computed together: what lies between layers stays small


@dataclass(frozen=True, eq=False)
class Corners:
    """The pixels that linear interpolation reads at points."""

    pixel: Tensor
    """(B, P, K, D) along each axis, array order. One without weight repeats another."""
    weight: Tensor
    """(B, P, K), summing to one."""


@dataclass(frozen=True, eq=False)
class Bricks:
    """The bricks that hold a pixel which is asked, each once, in the order of the lattice."""

    image: Tensor
    """(N,) which image of the batch."""
    start: Tensor
    """(N, D) first pixel, array order."""
    row: Tensor
    """(B, P, K) where each asked pixel stands among the N * b^D pixels of all bricks."""

    def __len__(self) -> int:
        return len(self.image)


def find_corners(coords: Tensor, size: Sequence[int]) -> Corners:
    """The pixels around coordinates (B, P, D) in an image (*S), with border padding.

    A point that only rounding keeps from a centre is on it, so that it calls for one brick.
    """
    places = [_place(coords[..., -1 - axis], n) for axis, n in enumerate(size)]
    # On a GPU to look is to wait; there all corners are read, some without weight.
    if coords.device.type == "cpu" and all(torch.equal(x, x.round()) for x in places):
        pixel = torch.stack(places, dim=-1)[..., None, :].long()
        return Corners(pixel, torch.ones_like(coords[..., :1]))
    low = [x.floor().clamp(max=max(n - 2, 0)) for x, n in zip(places, size, strict=True)]
    fractions = [x - a for x, a in zip(places, low, strict=True)]
    lows = [a.long() for a in low]
    pixels, weights = [], []
    for bits in itertools.product((0, 1), repeat=len(size)):
        along = [low + min(bit, n - 1) for low, bit, n in zip(lows, bits, size, strict=True)]
        shares = [f if bit else 1 - f for f, bit in zip(fractions, bits, strict=True)]
        pixels.append(torch.stack(along, dim=-1))
        weights.append(torch.stack(shares, dim=-1).prod(-1))
    pixel, weight = torch.stack(pixels, dim=-2), torch.stack(weights, dim=-1)
    heaviest = weight.argmax(-1, keepdim=True)[..., None].expand(*weight.shape[:-1], 1, len(size))
    return Corners(torch.where(weight[..., None] > 0, pixel, pixel.gather(-2, heaviest)), weight)


def find_bricks(pixel: Tensor, size: Sequence[int], *, side: int, images: int) -> Bricks:
    """The bricks of ``side`` pixels that hold the pixels (B, P, K, D) of images (*S).

    :param images: in the batch: B, or 1 for all.
    """
    grid = [-(-n // side) for n in size]
    brick = flat_pixels(pixel // side, grid, images=images)
    held = torch.zeros(images * prod(grid), dtype=torch.bool, device=pixel.device)
    held[brick.flatten()] = True
    number = held.nonzero()[:, 0]
    place = held.cumsum(0) - 1
    row = place[brick] * side ** len(size) + flat_pixels(pixel % side, [side] * len(size))
    start = torch.stack(torch.unravel_index(number % prod(grid), grid), dim=-1) * side
    return Bricks(number // prod(grid), start, row)


def rows_in_bricks(
    image: Tensor,
    bricks: Bricks,
    compute: Callable[[Tensor], Tensor],
    *,
    side: int,
    halo: int,
) -> Tensor:
    """What a local network says of every pixel of the bricks: (N * b^D, F) and some rows unused.

    The number of bricks depends on the image. It is filled up to one of few numbers, since a CPU's
    libraries make and keep kernels for each shape that they meet.

    :param image: (B, C, *S).
    :param compute: (n, C, *(b + 2 r)) -> (n, F, *b), the same for every brick.
    :param halo: r.
    """
    flat = image.flatten(2).transpose(0, 1).flatten(1)  # (C, B * pixels); no copy of one channel
    width, size = side + 2 * halo, image.shape[2:]
    parts = []
    for first in range(0, len(bricks), _AT_ONCE):
        last = min(first + _AT_ONCE, len(bricks))
        chosen = torch.arange(first, first + _round_number(last - first), device=image.device)
        chosen = chosen.clamp(max=last - 1)
        index = _pixels_of(bricks, chosen, size, width=width, halo=halo)
        cut = flat.index_select(1, index.flatten()).view(
            len(flat), len(chosen), *[width] * len(size)
        )
        parts.append(compute(cut.transpose(0, 1)).flatten(2).transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


def weigh_rows(rows: Tensor, row: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows (M, F), by row (B, P, K) and weight (B, P, K) -> (B, P, F).

    In single precision on a CPU, also under autocast, for the reason of ``to_rows``.
    """
    is_half = rows.device.type == "cpu" and rows.dtype in (torch.bfloat16, torch.float16)
    rows = rows.float() if is_half else rows
    found = functional.embedding_bag(
        row.flatten(0, 1), rows, mode="sum",
        per_sample_weights=weight.flatten(0, 1).to(rows.dtype),
    )  # fmt: skip
    return found.view(*row.shape[:2], -1)


def flat_pixels(pixel: Tensor, size: Sequence[int], *, images: int = 1) -> Tensor:
    """Flat row-major number of pixels (B, ..., D) in images (*S) that lie one after the other.

    :param images: B, or 1 for all.
    """
    index = pixel[..., 0]
    if images > 1:
        first = torch.arange(images, device=pixel.device) * size[0]
        index = index + first.view(-1, *[1] * (index.ndim - 1))
    for axis, n in enumerate(size[1:], start=1):
        index = index * n + pixel[..., axis]
    return index


def _place(x: Tensor, n: int) -> Tensor:
    """Coordinates along an axis of ``n`` pixels, in pixels, from 0 to n - 1."""
    place = (((x + 1) * n - 1) / 2).clamp(0, n - 1)
    centre = place.round()
    return torch.where((place - centre).abs() < _ROUNDING * n, centre, place)


def _pixels_of(
    bricks: Bricks, chosen: Tensor, size: Sequence[int], *, width: int, halo: int
) -> Tensor:
    """(n, width^D) flat numbers of the pixels of the chosen bricks, halo included."""
    steps = torch.arange(width, device=chosen.device) - halo
    index = bricks.image[chosen].view(-1, *[1] * len(size))
    for axis, n in enumerate(size):
        along = (bricks.start[chosen, axis, None] + steps).clamp(0, n - 1)
        shape = [len(chosen), *[1] * len(size)]
        shape[axis + 1] = width
        index = index * n + along.view(shape)
    return index


def _round_number(count: int) -> int:
    """The next power of two, above 64 the next multiple of it."""
    step = min(1 << (count - 1).bit_length(), 64)
    return -(-count // step) * step
