"""What a model said on its own grid, brought back to the grid of the scan.

Legend: ``C`` classes, class 0 is background and has its own channel; arrays are (K, J, I).
"""

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images.resampling import Box, Sampler, chunks, index_transform, make_sampler

__all__ = ["to_input_grid_labels", "to_input_grid_scalar"]

_WHOLE = 0.01  # voxels of drift over the whole grid that still count as voxel on voxel
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
    sampler = make_sampler(model_geometry, input_geometry)
    reaches = [_reach(probabilities, c, sampler) for c in range(1, len(probabilities))]
    labels = np.zeros(input_geometry.shape, dtype=dtype)
    for slab in chunks(input_geometry.shape):
        boxes = [None if reach is None else _common(reach, slab) for reach in reaches]
        _label_slab(labels, probabilities, sampler, boxes)
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
    sampler = make_sampler(model_geometry, input_geometry)
    result = np.empty(input_geometry.shape, dtype=np.float32)
    for box in chunks(input_geometry.shape):
        part = sampler.sample(values, box).cpu()
        result[box[0][0] : box[1][0]] = part.masked_fill_(~sampler.inside(box), outside).numpy()
    return result


def _check_shape(shape: tuple[int, ...], geometry: Geometry) -> None:
    if shape != geometry.shape:
        raise GeometryError(
            f"A map of shape {shape} does not fit the model's grid {geometry.shape}."
        )


def _most_probable(probabilities: Tensor) -> np.ndarray:
    # max().indices is argmax with the same ties, measured 9 to 31 times faster on a CPU.
    return probabilities.max(dim=0).indices.cpu().numpy()


def _reach(probabilities: Tensor, label: int, sampler: Sampler) -> Box | None:
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
    reach = sampler.reach(((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])))
    return reach if _common(reach, reach) else None


def _common(a: Box, b: Box) -> Box | None:
    k0, j0, i0 = (max(x, y) for x, y in zip(a[0], b[0], strict=True))
    k1, j1, i1 = (min(x, y) for x, y in zip(a[1], b[1], strict=True))
    return ((k0, j0, i0), (k1, j1, i1)) if k0 < k1 and j0 < j1 and i0 < i1 else None


def _label_slab(
    labels: np.ndarray, probabilities: Tensor, sampler: Sampler, boxes: list[Box | None]
) -> None:
    """Fill one slab of ``labels``: a running maximum, so that two maps are held, not C."""
    held = [box for box in boxes if box is not None]
    if not held:
        return
    k0, j0, i0 = (min(box[0][n] for box in held) for n in range(3))
    k1, j1, i1 = (max(box[1][n] for box in held) for n in range(3))
    union = ((k0, j0, i0), (k1, j1, i1))
    best = sampler.sample(probabilities[0].float(), union)
    winner = torch.zeros(best.shape, dtype=torch.int32, device=best.device)
    for label, box in enumerate(boxes, start=1):
        if box is None:
            continue
        where = tuple(slice(a - o, b - o) for a, b, o in zip(*box, union[0], strict=True))
        value = sampler.sample(probabilities[label].float(), box)
        wins = value > best[where]
        best[where] = torch.maximum(best[where], value)
        winner[where].masked_fill_(wins, label)
    winner = winner.cpu().masked_fill_(~sampler.inside(union), 0)
    labels[k0:k1, j0:j1, i0:i1] = winner.numpy()


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
