"""Cut a crop out of an image and its labels, straight or through one affine map.

Shapes: ``C`` channels, ``*S`` source size, ``*O`` crop size, ``D`` dimensions (2 or 3), ``P`` crop
voxels, ``K = 2**D`` grid neighbours of a point. Axes are in array order, (K, J, I) or (J, I).
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "affine_matrix",
    "crop_affine",
    "crop_start",
    "crop_straight",
    "crop_to_source",
    "rotation_matrix",
]


def crop_start(center: Sequence[float], crop: Sequence[int]) -> tuple[int, ...]:
    """First source voxel, maybe negative, of a crop around ``center`` (voxels), on the grid."""
    return tuple(math.floor(c - (n - 1) / 2 + 0.5) for c, n in zip(center, crop, strict=True))


def crop_straight(
    image: Tensor, labels: Tensor, *, start: Sequence[int], crop: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Copy of the voxels ``start … start + crop``; what lies outside the source is zero.

    :param image: (C, *S); :param labels: (*S).
    :returns: (C, *O) and (*O), memory of their own.
    """
    size = labels.shape
    inside = [
        slice(max(a, 0), max(min(a + n, s), 0)) for a, n, s in zip(start, crop, size, strict=True)
    ]
    target = [
        slice(min(max(-a, 0), n), min(max(-a, 0), n) + max(w.stop - w.start, 0))
        for a, n, w in zip(start, crop, inside, strict=True)
    ]
    cut_image = image.new_zeros((len(image), *crop))
    cut_labels = labels.new_zeros(tuple(crop))
    cut_image[(slice(None), *target)] = image[(slice(None), *inside)]
    cut_labels[tuple(target)] = labels[tuple(inside)]
    return cut_image, cut_labels


def rotation_matrix(degrees: Sequence[float]) -> Tensor:
    """(D, D) float64 rotation in array order.

    :param degrees: one angle for 2D; for 3D three, about the axes K, J, I in turn. A positive angle
        turns the first of the two remaining axes towards the second, as ``torch.rot90`` does.
    """
    dims = 2 if len(degrees) == 1 else 3
    matrix = torch.eye(dims, dtype=torch.float64)
    planes = [(0, 1)] if dims == 2 else [(1, 2), (0, 2), (0, 1)]
    for (a, b), angle in zip(planes, degrees, strict=True):
        turn = torch.eye(dims, dtype=torch.float64)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = cos, -sin, sin, cos
        matrix = turn @ matrix
    return matrix


def affine_matrix(
    degrees: Sequence[float], *, scale: float, mirror: Sequence[int], spacing: Sequence[float]
) -> Tensor:
    """(D, D) float64 map from voxel offsets in the crop to voxel offsets in the source.

    :param scale: size of an object in the crop over its size in the source.
    :param mirror: axes of the crop to flip.
    :param spacing: voxel size in mm in array order, so that the turn is rigid in the patient.
    """
    voxel = torch.tensor(spacing, dtype=torch.float64)
    # The crop's content turns by R, so the crop's grid looks back through R transposed.
    matrix = torch.diag(1 / voxel) @ rotation_matrix(degrees).T @ torch.diag(voxel) / scale
    for axis in mirror:
        matrix[:, axis] *= -1
    return matrix


def crop_affine(
    image: Tensor, labels: Tensor, *, start: Sequence[int], crop: Sequence[int], matrix: Tensor
) -> tuple[Tensor, Tensor]:
    """The crop ``start … start + crop`` turned about its centre, resampled once.

    The image is interpolated linearly. A label is the one with the largest sum of linear weights
    among the neighbours: what one-hot maps, interpolated and compared, would give, for any number
    of classes. Outside the source the image is zero and the label background.

    Neighbours are gathered by flat index: on one CPU core half the time of ``grid_sample``, and
    the labels share the indices.

    :param image: (C, *S) float; :param labels: (*S) integer; :param matrix: see `affine_matrix`.
    :returns: (C, *O) and (*O).
    """
    center = [a + (n - 1) / 2 for a, n in zip(start, crop, strict=True)]
    box = _source_box(center, crop, matrix, labels.shape)
    pad = [1, 1] * labels.ndim
    window = tuple(slice(a, b) for a, b in box)
    cut_image = functional.pad(image[(slice(None), *window)], pad)
    cut_labels = functional.pad(labels[window].to(torch.int32), pad)

    local = [c - a + 1 for c, (a, _) in zip(center, box, strict=True)]
    base, fractions = _locate(local, crop, matrix, cut_labels.shape, image.device)
    # The same index into a shifted view gives the next neighbour: no 2^D index arrays.
    bits = list(itertools.product((0, 1), repeat=len(crop)))  # K neighbours, last axis fastest
    strides = cut_labels.stride()
    shifts = [sum(b * s for b, s in zip(bit, strides, strict=True)) for bit in bits]
    flat_image, flat_labels = cut_image.flatten(1), cut_labels.flatten()
    chosen = _vote([flat_labels[shift:].index_select(0, base) for shift in shifts], fractions)
    value = _interpolate([flat_image[:, n:].index_select(1, base) for n in shifts], fractions)
    return value.view(len(image), *crop), chosen.view(*crop).to(labels.dtype)


def crop_to_source(
    *, start: Sequence[int], crop: Sequence[int], matrix: Tensor, size: Sequence[int]
) -> Tensor:
    """(D, D + 1) float32 affine map from coordinates in a crop to those in its source.

    Both are (x, y[, z]) in [-1, 1], pixel centre i of n at (2i + 1)/n - 1, see `MorseCore.points`.

    :param matrix: (D, D), array order, see `affine_matrix`.
    :param size: S of the source.
    """
    lengths, source = torch.tensor([crop, size], dtype=torch.float64)
    center = torch.tensor(start, dtype=torch.float64) + (lengths - 1) / 2
    turn = matrix * lengths / source[:, None]
    shift = (2 * center + 1) / source - 1
    return torch.cat([turn.flip(0, 1), shift.flip(0)[:, None]], dim=1).float()


def _source_box(
    center: Sequence[float], crop: Sequence[int], matrix: Tensor, size: Sequence[int]
) -> list[tuple[int, int]]:
    """First and past-the-end source voxel along each axis that the crop may look at."""
    half = matrix.abs() @ torch.tensor([(n - 1) / 2 for n in crop], dtype=matrix.dtype)
    box = []
    for c, h, s in zip(center, half.tolist(), size, strict=True):
        # One voxel more on each side, against rounding of single-precision coordinates.
        first = min(max(math.floor(c - h) - 1, 0), s)
        box.append((first, max(min(math.floor(c + h) + 3, s), first)))
    return box


def _locate(
    center: Sequence[float],
    crop: Sequence[int],
    matrix: Tensor,
    size: Sequence[int],
    device: torch.device,
) -> tuple[Tensor, list[Tensor]]:
    """Flat index (P,) of each point's lowest neighbour, and D weights (P,) of the upper ones."""
    steps = [
        (torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2).view(
            [-1 if axis == b else 1 for axis in range(len(crop))]
        )
        for b, n in enumerate(crop)
    ]
    base = torch.zeros(math.prod(crop), dtype=torch.int32, device=device)
    fractions = []
    for row, c, n in zip(matrix.tolist(), center, size, strict=True):
        position = torch.full((1,) * len(crop), c, device=device)
        for m, step in zip(row, steps, strict=True):
            position = position + m * step
        position = position.flatten().clamp_(0, n - 1)
        lower = position.floor().clamp_(max=n - 2)
        fractions.append(position.sub_(lower))
        base.mul_(n).add_(lower.to(torch.int32))
    return base, fractions


def _interpolate(values: Sequence[Tensor], fractions: Sequence[Tensor]) -> Tensor:
    """Linear interpolation of K neighbours (..., P), last axis fastest, to (..., P)."""
    for fraction in reversed(fractions):
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [torch.lerp(low, high, fraction) for low, high in pairs]
    return values[0]


def _vote(neighbours: Sequence[Tensor], fractions: Sequence[Tensor]) -> Tensor:
    """(P,) the label with most weight among K neighbours (P,); the smallest label if they tie."""
    chosen = neighbours[0].clone()
    differs = torch.zeros_like(chosen, dtype=torch.bool)
    for other in neighbours[1:]:
        differs |= other != chosen
    points = differs.nonzero().squeeze(1)  # Q points; only there is anything to decide
    if not len(points):
        return chosen
    near = torch.stack([label.index_select(0, points) for label in neighbours])  # (K, Q)
    upper = [fraction.index_select(0, points) for fraction in fractions]
    best = torch.zeros_like(upper[0])
    winner = torch.zeros_like(near[0])
    for label in torch.bincount(near.flatten()).nonzero().flatten().tolist():
        votes = _interpolate((near == label).to(torch.float32).unbind(), upper)
        better = votes > best
        best = torch.where(better, votes, best)
        winner.masked_fill_(better, label)
    return chosen.index_copy_(0, points, winner)
