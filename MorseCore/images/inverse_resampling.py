"""What a model said on its own grid, brought back to the grid of the scan.

Legend: ``C`` classes, class 0 is background and has its own channel; arrays are (K, J, I).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images.resampling import (
    EDGE,
    Box,
    Interpolator,
    ObliqueInterpolator,
    chunks,
    index_transform,
    make_interpolator,
)

__all__ = ["over_cells", "to_input_grid_labels", "to_input_grid_scalar"]

_WHOLE = 0.01  # voxels of drift over the whole grid that still count as voxel on voxel
_ROUNDING = 1e-5  # of an interpolated probability
_MARGIN = 2  # voxels; one is what linear interpolation needs, the other is for rounding


def to_input_grid_labels(
    probabilities: Tensor, *, model_geometry: Geometry, input_geometry: Geometry
) -> np.ndarray:
    """Label every voxel of the input with its most probable class.

    The classes' probabilities (or logits) are interpolated linearly, not the labels, so that
    outlines stay smooth; ties go to the lower class; outside of the model's grid is background. If
    the grids match voxel on voxel, nothing is interpolated.

    :param probabilities: (C, K, J, I) on ``model_geometry``; any float type, any device.
    :return: (K, J, I) of ``input_geometry``, uint8 up to 256 classes, else uint16.
    :raises GeometryError: if the shape is not the model grid's.
    """
    _check_shape(tuple(probabilities.shape[1:]), model_geometry)
    dtype = np.dtype(np.uint8 if len(probabilities) <= 256 else np.uint16)
    moved = _voxel_on_voxel(model_geometry, input_geometry)
    if moved is not None:
        return _paste(_most_probable(probabilities).astype(dtype), moved, input_geometry.shape)
    interpolator = make_interpolator(model_geometry, input_geometry)
    if isinstance(interpolator, ObliqueInterpolator) and min(model_geometry.shape) > 1:
        return _label_turned(probabilities, interpolator, input_geometry.shape, dtype)
    reaches = [_reach(probabilities, c, interpolator) for c in range(1, len(probabilities))]
    labels = np.zeros(input_geometry.shape, dtype=dtype)
    for slab in chunks(input_geometry.shape):
        boxes = [None if reach is None else _common(reach, slab) for reach in reaches]
        _label_slab(labels, probabilities, interpolator, boxes)
    return labels


def to_input_grid_scalar(
    array: np.ndarray | Tensor,
    *,
    model_geometry: Geometry,
    input_geometry: Geometry,
    outside: float = 0.0,
) -> np.ndarray:
    """Interpolate one float map (K, J, I) linearly at the input's voxels; returns float32.

    :param outside: value where the input reaches beyond the model's grid.
    :raises GeometryError: if the shape is not the model grid's.
    """
    values = torch.as_tensor(array).to(torch.float32)
    _check_shape(tuple(values.shape), model_geometry)
    moved = _voxel_on_voxel(model_geometry, input_geometry)
    if moved is not None:
        return _paste(values.cpu().numpy(), moved, input_geometry.shape, outside=outside)
    interpolator = make_interpolator(model_geometry, input_geometry)
    result = np.empty(input_geometry.shape, dtype=np.float32)
    for box in chunks(input_geometry.shape):
        part = interpolator.sample(values, box).cpu()
        result[box[0][0] : box[1][0]] = part.masked_fill_(
            ~interpolator.inside(box), outside
        ).numpy()
    return result


def _check_shape(shape: tuple[int, ...], geometry: Geometry) -> None:
    if shape != geometry.shape:
        raise GeometryError(
            f"A map of shape {shape} does not fit the model's grid {geometry.shape}."
        )


def _most_probable(probabilities: Tensor) -> np.ndarray:
    # max().indices is argmax with the same ties, measured 9 to 31 times faster on a CPU.
    return probabilities.max(dim=0).indices.cpu().numpy()


def _reach(probabilities: Tensor, label: int, interpolator: Interpolator) -> Box | None:
    """The part of the input where a class can win, or None.

    An interpolated probability is a weighted mean of its neighbours', so a class can exceed the
    background only beside a voxel where it does so already. Its own largest voxels would not do:
    between two rivals a class can come first that is second on both sides.
    """
    rises = probabilities[label] > probabilities[0]
    lower, upper = [], []
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
        hit = rises.any(dim=others[1]).any(dim=others[0]).nonzero()
        if len(hit) == 0:
            return None
        lower.append(max(int(hit[0]) - _MARGIN, 0))
        upper.append(min(int(hit[-1]) + 1 + _MARGIN, rises.shape[axis]))
    reach = interpolator.reach(((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])))
    return reach if _common(reach, reach) else None


def _common(a: Box, b: Box) -> Box | None:
    k0, j0, i0 = (max(x, y) for x, y in zip(a[0], b[0], strict=True))
    k1, j1, i1 = (min(x, y) for x, y in zip(a[1], b[1], strict=True))
    return ((k0, j0, i0), (k1, j1, i1)) if k0 < k1 and j0 < j1 and i0 < i1 else None


def _label_slab(
    labels: np.ndarray, probabilities: Tensor, interpolator: Interpolator, boxes: list[Box | None]
) -> None:
    """Fill one slab of ``labels``: a running maximum, so that two maps are held, not C."""
    held = [box for box in boxes if box is not None]
    if not held:
        return
    k0, j0, i0 = (min(box[0][n] for box in held) for n in range(3))
    k1, j1, i1 = (max(box[1][n] for box in held) for n in range(3))
    union = ((k0, j0, i0), (k1, j1, i1))
    best = interpolator.sample(probabilities[0].float(), union)
    winner = torch.zeros(best.shape, dtype=torch.int32, device=best.device)
    for label, box in enumerate(boxes, start=1):
        if box is None:
            continue
        where = tuple(slice(a - o, b - o) for a, b, o in zip(*box, union[0], strict=True))
        value = interpolator.sample(probabilities[label].float(), box)
        wins = value > best[where]
        best[where] = torch.maximum(best[where], value)
        winner[where].masked_fill_(wins, label)
    winner = winner.cpu().masked_fill_(~interpolator.inside(union), 0)
    labels[k0:k1, j0:j1, i0:i1] = winner.numpy()


def _label_turned(
    probabilities: Tensor,
    interpolator: ObliqueInterpolator,
    shape: tuple[int, int, int],
    dtype: np.dtype,
) -> np.ndarray:
    """Label a grid that is turned against the model's, where every voxel has to be looked up.

    A *cell* lies between eight voxels of the model's grid. Where all eight have one class, so has
    the cell. Elsewhere only those classes are interpolated that can win: a class stays below its
    largest of the eight values, and the winner above every other's smallest.
    """
    cells = _Cells(probabilities.float().cpu())
    labels = np.zeros(shape, dtype=dtype)
    hit = (cells.decided != 0).nonzero()
    if not len(hit):
        return labels
    k, j, i = hit.min(0).values.tolist()
    last_k, last_j, last_i = (hit.max(0).values + 2).tolist()
    (k0, j0, i0), (k1, j1, i1) = interpolator.reach(((k, j, i), (last_k, last_j, last_i)))
    for (a, _, _), (b, _, _) in chunks((k1 - k0, max(j1 - j0, 1), max(i1 - i0, 1))):
        box = (k0 + a, j0, i0), (k0 + b, j1, i1)
        labels[k0 + a : k0 + b, j0:j1, i0:i1] = _label_box(interpolator, box, cells).numpy()
    return labels


class _Cells:
    """What holds for each cell of the model's grid; see :func:`_label_turned`."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        """(C, K, J, I) float32."""
        winners = values.max(dim=0).indices
        lowest, highest = (over_cells(winners, f) for f in (torch.minimum, torch.maximum))
        self.decided = torch.where(lowest == highest, lowest, -1)
        """(K - 1, J - 1, I - 1): the class of all corners, or -1."""
        least = torch.zeros(self.decided.shape)
        for channel in values:
            torch.maximum(least, over_cells(channel, torch.minimum), out=least)
        least -= _ROUNDING
        self.can_win = [over_cells(c, torch.maximum).ge(least).flatten() for c in values]
        """For each class whether it may win somewhere in a cell, flat."""


def over_cells(values: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The smallest or largest of each cell's eight values: (K, J, I) -> (K - 1, J - 1, I - 1)."""
    for axis in range(3):
        n = values.shape[axis] - 1
        values = choose(values.narrow(axis, 0, n), values.narrow(axis, 1, n))
    return values


def _label_box(interpolator: ObliqueInterpolator, box: Box, cells: _Cells) -> Tensor:
    """The labels of one box of the target."""
    places, decided = interpolator.positions(box), cells.decided
    inside = torch.ones(places[0].shape, dtype=torch.bool)
    cell = torch.zeros(places[0].shape, dtype=torch.int64)
    for place, size in zip(reversed(places), decided.shape, strict=True):  # k, j, i
        inside &= (place >= -0.5 - EDGE) & (place <= size + 0.5 + EDGE)
        cell = cell * size + place.clamp(0, size).floor().clamp_(max=size - 1).long()
    labels = decided.flatten()[cell].masked_fill_(~inside, 0)
    unsure = labels < 0
    shares, where = [], cell[unsure]
    rest = where
    for place, size in reversed(list(zip(reversed(places), decided.shape, strict=True))):  # i, j, k
        shares.append((place[unsure].clamp(0, size) - rest % size).float())
        rest = rest // size
    labels[unsure] = _win_among(cells, where, shares)
    return labels


def _win_among(cells: _Cells, cell: Tensor, shares: list[Tensor]) -> Tensor:
    """The most probable class at ``P`` points, interpolated from their cells' corners.

    :param cell: (P,) numbers of cells in the flat grid of cells.
    :param shares: (P,) along i, j, k: how far a point lies from its cell's first voxel, 0..1.
    """
    j, i = cells.values.shape[2:]
    first = _first_corner(cell, cells.decided.shape, (j, i))
    best, winner = torch.full(cell.shape, -1.0), torch.zeros(cell.shape, dtype=torch.int64)
    for label, channel in enumerate(cells.values):
        can_win = cells.can_win[label][cell].nonzero()[:, 0]
        if not len(can_win):
            continue
        flat, start = channel.flatten(), first[can_win]
        x, y, z = (share[can_win] for share in shares)
        rows = []
        for corner in (0, i, j * i, j * i + i):
            low = flat[start + corner]
            rows.append(low + x * (flat[start + corner + 1] - low))
        planes = [rows[0] + y * (rows[1] - rows[0]), rows[2] + y * (rows[3] - rows[2])]
        value = planes[0] + z * (planes[1] - planes[0])
        wins = value > best[can_win]
        best[can_win[wins]], winner[can_win[wins]] = value[wins], label
    return winner


def _first_corner(cell: Tensor, cells: torch.Size, plane: tuple[int, int]) -> Tensor:
    """Numbers of cells as numbers of their first voxels; ``plane`` is the voxels' (J, I)."""
    rest, i = cell // cells[2], cell % cells[2]
    return (rest // cells[1] * plane[0] + rest % cells[1]) * plane[1] + i


def _voxel_on_voxel(model: Geometry, scan: Geometry) -> np.ndarray | None:
    """The 4x4 signed permutation from scan to model indices if the voxels coincide, else None."""
    matrix = index_transform(model, scan)
    whole = np.rint(matrix)
    turn = np.abs(whole[:3, :3])
    if not ((turn.sum(axis=0) == 1).all() and (turn.sum(axis=1) == 1).all()):
        return None
    drift = np.abs(matrix - whole)[:3] @ np.array([*scan.shape[::-1], 1.0])
    return whole.astype(np.int64) if drift.max() <= _WHOLE else None


def _paste(
    array: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int], *, outside: float = 0.0
) -> np.ndarray:
    """Copy (K, J, I) of the model's grid into the scan's ``shape`` without touching a value."""
    result = np.full(shape, outside, dtype=array.dtype)
    source_slices, target_slices, order = [slice(None)] * 3, [slice(None)] * 3, [0, 0, 0]
    for axis in range(3):  # target array axis; matrix axes run the other way
        column = 2 - axis
        row = int(np.abs(matrix[:3, column]).argmax())
        sign, offset = int(matrix[row, column]), int(matrix[row, 3])
        size = array.shape[2 - row]
        # Target indices n with 0 <= sign * n + offset < size.
        low, high = (-offset, size - offset) if sign > 0 else (offset - size + 1, offset + 1)
        low, high = max(low, 0), min(high, shape[axis])
        if low >= high:
            return result
        first, last = sorted((sign * low + offset, sign * (high - 1) + offset))
        source_slices[2 - row] = slice(first, last + 1)
        target_slices[axis] = slice(low, high)
        order[axis] = 2 - row
    part = array[tuple(source_slices)].transpose(order)
    signs = [int(np.sign(matrix[:3, 2 - axis].sum())) for axis in range(3)]
    result[tuple(target_slices)] = part[tuple(slice(None, None, s) for s in signs)]
    return result
