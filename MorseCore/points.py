"""Points: coordinates of pixels, features sampled at them, uncertainty, and writing back.

Shape legend: ``B`` batch, ``C`` channels or classes, ``P`` points, ``*S`` space, ``D`` its
dimensions (2 or 3), ``N`` number of pixels (product of S).

Coordinates are ordered (x, y[, z]), that is the *last* array axis first. Pixel centre i of n lies
at (2i + 1)/n - 1 in (-1, 1), so every resolution of one image shares one coordinate system
(``align_corners=False``). The paper's 2x/H - 1 (MORSE Eq. 3) differs by half a pixel.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Axes",
    "as_table",
    "centre_index",
    "coords_to_index",
    "gather_points",
    "grid_coords",
    "index_to_coords",
    "labels_at",
    "margin",
    "pick_coords",
    "pixel_axes",
    "sample_grid",
    "sample_maps",
    "sample_maps_on_grid",
    "sample_rows",
    "scatter_points",
    "to_rows",
    "top_two",
]

Axes = Sequence[Tensor]
"""A product grid: one vector of coordinates per axis of the array, first axis first."""

_SAME_PIXEL = 1e-3  # pixels; closer to a centre than this is on it


def index_to_coords(index: Tensor, size: Sequence[int]) -> Tensor:
    """Coordinates of pixel centres: flat row-major index (B, P) into S -> (B, P, D)."""
    axes = []
    remainder = index
    for n in reversed(size):  # the last array axis runs fastest and is x
        axes.append((2 * (remainder % n) + 1).to(torch.float32) / n - 1)
        remainder = remainder // n
    return torch.stack(axes, dim=-1)


def coords_to_index(coords: Tensor, size: Sequence[int]) -> Tensor:
    """Flat index (B, P) of the pixel that holds each coordinate (B, P, D), over *all* of S.

    The released MORSE code reduces this index modulo H*W in 3D, so that every refined voxel is
    written into the first slice; here it stays the full D*H*W index.
    """
    index = torch.zeros(coords.shape[:-1], dtype=torch.long, device=coords.device)
    for axis, n in enumerate(size):
        x = coords[..., len(size) - 1 - axis]
        cell = torch.floor((x + 1) * n / 2).long().clamp(0, n - 1)
        index = index * n + cell
    return index


def labels_at(labels: Tensor, coords: Tensor) -> Tensor:
    """Labels (B, *S) of the pixels that hold coordinates (B, P, D) -> (B, P)."""
    return labels.flatten(1).gather(1, coords_to_index(coords, labels.shape[1:]))


def pixel_axes(size: Sequence[int], *, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """The product grid of all pixel centres of S, in array axis order."""
    return tuple((2 * torch.arange(n, device=device) + 1) / n - 1 for n in size)


def grid_coords(axes: Axes) -> Tensor:
    """Coordinates (1, N, D), order (x, y[, z]), of a product grid in row-major order."""
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).view(1, -1, len(axes))


def pick_coords(axes: Axes, index: Tensor) -> Tensor:
    """Coordinates (B, P, D) of points of a product grid, by flat row-major index (B, P)."""
    picked = []
    for axis in reversed(axes):  # the last array axis runs fastest and is x
        picked.append(axis[index % len(axis)])
        index = index // len(axis)
    return torch.stack(picked, dim=-1)


def sample_grid(features: Tensor, axes: Axes) -> Tensor:
    """Linear interpolation of a map at a product grid, with border padding.

    Interpolation is separable, so it is one small matrix product per axis: forward and backward
    are matrix products (deterministic on a GPU, and several times faster on a CPU than the
    gradient of ``interpolate``), and any grid will do, not only whole scale factors.

    :param features: (B, C, *S).
    :return: (B, C, *len of each axis).
    """
    whole = [slice(0, size, 1) for size in features.shape[2:]]
    if [_picked_centres(x, n) for x, n in zip(axes, features.shape[2:], strict=True)] == whole:
        return features  # the map's own pixels, in the order of memory that it has
    for n, coords in enumerate(axes):
        axis = n + 2
        shape = list(features.shape)
        size, shape[axis] = shape[axis], len(coords)
        if (picked := _picked_centres(coords, size)) is not None:
            features = features[(slice(None),) * axis + (picked,)]
            continue
        if size == 1:
            features = features.expand(shape)
            continue
        matrix = _interpolation_matrix(coords, size).to(features.dtype)
        if axis == features.ndim - 1:
            features = features @ matrix.T
            continue
        # From the left, so that nothing is turned and copied.
        planes = features.reshape(-1, size, prod(shape[axis + 1 :]))
        features = torch.bmm(matrix.expand(len(planes), -1, -1), planes).view(shape)
    return features.contiguous()


def _picked_centres(coords: Tensor, size: int) -> slice | None:
    """Which of a map's pixels the coordinates are the centres of, if they are: every n-th one.

    Then nothing is to be interpolated.
    """
    if len(coords) != size and coords.device.type != "cpu":
        return None  # to look is to wait for a GPU; the product with a matrix is cheap there
    x = ((coords + 1) * size - 1) / 2
    first = int(x[0].round())
    step = max(1, int((x[-1].round() - first) / max(1, len(x) - 1)))
    last = first + step * (len(x) - 1)
    wanted = first + step * torch.arange(len(x), device=x.device)
    if first < 0 or last >= size or bool((x - wanted).abs().max() > _SAME_PIXEL):
        return None
    return slice(first, last + 1, step)


def _interpolation_matrix(coords: Tensor, size: int) -> Tensor:
    """(len(coords), size) rows with the two weights of linear interpolation."""
    x = (((coords + 1) * size - 1) / 2).clamp(0, size - 1)
    low = x.floor().clamp(max=size - 2)
    fraction = (x - low)[:, None]
    column = torch.arange(size, device=coords.device)
    return (column == low[:, None]) * (1 - fraction) + (column == low[:, None] + 1) * fraction


def to_rows(features: Tensor) -> Tensor:
    """(B, C, *S) -> (B, N, C), contiguous, one row a pixel.

    Gathering 8192 x 256 features from rows took 8 ms where ``grid_sample`` on the channels-first
    map took 278 ms (2 CPU threads): a point then reads one stretch of memory. Fields keep the
    rows, so they have their gradient even if a sampler, which needs none, was the first to ask.
    """
    with torch.enable_grad():
        return as_table(features.flatten(2).transpose(1, 2))


def as_table(rows: Tensor) -> Tensor:
    """Rows (B, N, C) to be sampled, contiguous, on a CPU in float32 also under autocast.

    There the gradient of many points in one pixel is added in the rows' own precision, and in bf16
    the sum stops growing (4 % too small for 128 points a pixel).
    """
    is_half = rows.device.type == "cpu" and rows.dtype in (torch.bfloat16, torch.float16)
    return (rows.float() if is_half else rows).contiguous()


def sample_rows(
    rows: Tensor, size: Sequence[int], coords: Tensor, scale: Tensor | None = None
) -> Tensor:
    """Linear interpolation of a map at coordinates, with border padding.

    Border padding makes sampling a coarse map at the pixel centres of a finer grid equal to
    up-sampling it there; zero padding would be wrong by O(1) at the border.

    :param rows: (B, N, C) from :func:`to_rows`; B may be 1 for all.
    :param size: S, with product N.
    :param coords: (B, P, D).
    :param scale: (B, P) factors of the result.
    :return: (B, P, C).
    """
    index, weight = _corners(size, coords)
    return _sum_rows(rows, index, weight if scale is None else weight * scale[:, None])


def sample_maps(
    rows: Tensor, sizes: Sequence[Sequence[int]], coords: Tensor, scales: Tensor
) -> Tensor:
    """sum_i s_i(p) v_i(p): maps v_i of one width, interpolated, weighted and added in one gather.

    :param rows: (B, N, C), those of one map after those of another; B may be 1 for all.
    :param sizes: S_i, array order; N is the sum of their products.
    :param coords: (B, P, D).
    :param scales: s_i, (B, P, I).
    :return: (B, P, C).
    """
    found = [_corners(size, coords) for size in sizes]
    return _sum_rows(rows, *_join([prod(size) for size in sizes], found, scales))


def sample_maps_on_grid(
    rows: Tensor, sizes: Sequence[Sequence[int]], axes: Axes, scales: Tensor
) -> Tensor:
    """:func:`sample_maps` at all points of a product grid, in row-major order: (B, P, C).

    In 3D the first axis is a small matrix product, as in :func:`sample_grid`: of the remaining two
    a point has half as many corners, which the gradient sorts (22 ms in place of 51).
    """
    known = len(axes) - 2  # axes that are as the grid has them when the rows are gathered
    for n, axis in enumerate(axes[:known]):
        maps = rows.split([prod(size) for size in sizes], dim=1)
        pairs = zip(maps, sizes, strict=True)
        rows = torch.cat([_resample(x, size, n, axis) for x, size in pairs], dim=1).to(rows.dtype)
        sizes = [(*size[:n], len(axis), *size[n + 1 :]) for size in sizes]
    found = [_grid_corners(size, axes, known=known) for size in sizes]
    return _sum_rows(rows, *_join([prod(size) for size in sizes], found, scales))


def _resample(rows: Tensor, size: Sequence[int], n: int, axis: Tensor) -> Tensor:
    """The rows of a map, interpolated along its axis ``n``: (B, N, C) -> (B, N', C)."""
    # As planes, so that the product is from the left and nothing is turned and copied.
    planes = rows.reshape(-1, size[n], prod(size[n + 1 :]) * rows.shape[-1])
    matrix = _interpolation_matrix(axis, size[n]).to(rows.dtype)
    return torch.bmm(matrix.expand(len(planes), -1, -1), planes).view(len(rows), -1, rows.shape[-1])


def _grid_corners(size: Sequence[int], axes: Axes, *, known: int) -> tuple[Tensor, Tensor]:
    """As :func:`_corners`, of a product grid: (1, K, P) each, from the corners along each axis.

    :param known: so many of the first axes are the map's own, where a point has one corner.
    """
    index = torch.zeros(1, 1, dtype=torch.long, device=axes[0].device)
    weight = axes[0].new_ones(1, 1)
    for n, (length, axis) in enumerate(zip(size, axes, strict=True)):
        if n < known:
            step, share = (
                torch.arange(length, device=axis.device)[None],
                torch.ones_like(axis)[None],
            )
        else:
            step, share = (x[0] for x in _corners([length], axis[None, :, None]))  # (2, L)
        index = (index[:, None, :, None] * length + step[:, None]).flatten(2).flatten(0, 1)
        weight = (weight[:, None, :, None] * share[:, None]).flatten(2).flatten(0, 1)
    return index[None], weight[None]


def _join(
    lengths: Sequence[int], found: Sequence[tuple[Tensor, Tensor]], scales: Tensor
) -> tuple[Tensor, Tensor]:
    """Corners in several tables as corners in one that has them one after the other, weighted.

    :param lengths: rows of each table.
    :param found: index and weight (B, K, P) in each; B may be 1 for all.
    :param scales: of each table, (B, P, I).
    """
    firsts = accumulate(lengths[:-1], initial=0)
    shifted = [index + first for (index, _), first in zip(found, firsts, strict=True)]
    weighted = [weight * scales[:, None, :, n] for n, (_, weight) in enumerate(found)]
    return torch.cat(shifted, dim=1), torch.cat(weighted, dim=1)


def _sum_rows(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """sum_k weight_k rows[index_k]: (B, N, C) and (B, K, P) each -> (B, P, C).

    Of rows and indices B may be 1 for all. ``embedding_bag`` stores none of the K rows: 8192 points
    of a 3D map with 32 channels took 1.9 ms in place of 8.4, of a 2D one with 64 channels 0.9 in
    place of 8.8 (one thread); training, with the gradient, half the time.
    """
    batch, corners, count = weight.shape
    if rows.shape[0] > 1:
        index = index + rows.shape[1] * torch.arange(batch, device=index.device)[:, None, None]
    found = functional.embedding_bag(
        index.expand(batch, -1, -1).transpose(1, 2).reshape(-1, corners), rows.flatten(0, 1),
        mode="sum", per_sample_weights=weight.transpose(1, 2).reshape(-1, corners).to(rows.dtype),
    )  # fmt: skip
    return found.view(batch, count, -1)


def _corners(size: Sequence[int], coords: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices of the pixels around coordinates, and their weights: (B, 2^D, P) each."""
    first = coords.new_zeros(coords.shape[:-1], dtype=torch.long)
    offset = first.new_zeros(1)
    weight = coords.new_ones(coords.shape[0], 1, coords.shape[1])
    for axis, n in enumerate(size):
        x = ((coords[..., len(size) - 1 - axis] + 1) * n - 1) / 2
        x = x.clamp(0, n - 1)
        low = x.floor().clamp(max=max(n - 2, 0))
        fraction = (x - low)[:, None]
        first = first * n + low.long()
        # An axis of one pixel has itself as neighbour, with weight 0.
        offset = torch.cat([offset * n, offset * n + min(1, n - 1)])
        weight = torch.cat([weight * (1 - fraction), weight * fraction], dim=1)
    return first[:, None] + offset[:, None], weight


def centre_index(coords: Tensor, size: Sequence[int]) -> Tensor | None:
    """Flat index (B, P) of the pixels whose centres the coordinates (B, P, D) are, all of them.

    Else None: one of them lies between centres, or outside. There is nothing to interpolate at a
    centre, so a map can be read as it lies, without a copy in rows.
    """
    index = torch.zeros(coords.shape[:-1], dtype=torch.long, device=coords.device)
    for axis, n in enumerate(size):
        x = ((coords[..., len(size) - 1 - axis] + 1) * n - 1) / 2
        pixel = x.round()
        if bool(((x - pixel).abs() > _SAME_PIXEL).any() | (pixel < 0).any() | (pixel >= n).any()):
            return None
        index = index * n + pixel.long()
    return index


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Values of a map (B, C, *S) at flat indices (B, P) -> (B, P, C)."""
    flat = values.flatten(2)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def scatter_points(values: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """A copy of the map (B, C, *S) with ``points`` (B, P, C) written at flat indices (B, P)."""
    flat = values.flatten(2)
    target = index[:, None].expand(-1, flat.shape[1], -1)
    return flat.scatter(2, target, points.transpose(1, 2).to(flat.dtype)).view_as(values)


def margin(logits: Tensor, *, dim: int = -1) -> Tensor:
    """Uncertainty u = second largest - largest logit, <= 0; the larger the less certain.

    MORSE §2 (IAR), after PointRend. It must be taken on logits *sampled at the point*: half-way
    between a sure +1 and a sure -1 interpolated logits tie, interpolated certainty does not.
    """
    first, second = top_two(logits, dim=dim)
    return second - first


def top_two(values: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    """The largest and the second largest along ``dim``, which is left out.

    ``topk(2)`` gives the same 5 to 15 times slower on a CPU: 3 classes x 89,600 points 3.84 ms
    against 0.26 ms, 14 x 884,736 178 ms against 36 ms (one thread).
    """
    first, second, *others = values.unbind(dim)
    first, second = torch.maximum(first, second), torch.minimum(first, second)
    for other in others:
        second = torch.maximum(second, torch.minimum(first, other))
        first = torch.maximum(first, other)
    return first, second
