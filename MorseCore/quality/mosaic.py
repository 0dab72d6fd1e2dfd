"""The picture of a case: slices through what was found, with outline, fill, points and letters.

Drawn with numpy alone and written as JPEG by SimpleITK, so that any installation can.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from scipy import ndimage

from MorseCore.errors import OutputError
from MorseCore.images.imageio import Volume
from MorseCore.images.itkpath import itk_path
from MorseCore.images.modelgrid import AxisMap, canonical_axes
from MorseCore.result import Segmentation, Structure
from MorseCore.system.files import atomic_path

__all__ = ["LARGEST_PICTURE", "draw_mosaic", "write_mosaic"]

LARGEST_PICTURE = 50_000  # bytes; a cohort of a thousand is 50 MB on a shared drive
_TILE = 192  # pixels of a slice's picture from side to side
_TALLEST = 240  # pixels
_COLUMNS = 5
_MARGIN = 12.0  # mm around what was found
_FILL = 0.35  # share of a structure's colour over the scan
_MOST_POINTS = 300  # drawn in a slice
_QUALITIES = (80, 65, 50, 40, 30, 20, 10)
_DARK = 18
_LETTER = 18  # pixels of a letter's height with the dark around it
_SURE, _UNDECIDED = np.array([255, 230, 40]), np.array([255, 60, 40])  # a point's colour
_GLYPHS = {
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "P": ("11110", "10001", "10001", "11110", "10000", "10000", "10000"),
}
_PLANES = ((0, "R", "L"), (1, "R", "L"), (2, "A", "P"))
"""Axis (of S, A, R) that a slice is cut across, and the letters at its left and right edge."""


class _Upright(NamedTuple):
    """Everything with axes S, A, R: (S, A, R) arrays, and points as indices of them."""

    image: np.ndarray
    coarse: np.ndarray
    refined: np.ndarray
    points: np.ndarray
    """(P, 3)."""
    uncertainty: np.ndarray
    """(P,)."""
    changed: np.ndarray
    """(P,)."""
    spacing: np.ndarray
    """mm along S, A, R."""


def write_mosaic(path: Path, volume: Volume, result: Segmentation) -> None:
    """Write :func:`draw_mosaic` as JPEG of at most :data:`LARGEST_PICTURE` bytes.

    :raises OutputError: if it cannot be written.
    """
    image = SimpleITK.GetImageFromArray(draw_mosaic(volume, result), isVector=True)
    with atomic_path(path) as temporary:
        for quality in _QUALITIES:
            try:
                SimpleITK.WriteImage(image, itk_path(temporary), True, quality)
            except RuntimeError as error:
                raise OutputError(f"{path} cannot be written; is the disk full?") from error
            if temporary.stat().st_size <= LARGEST_PICTURE:
                return


def draw_mosaic(volume: Volume, result: Segmentation) -> np.ndarray:
    """Rows of axial, coronal and sagittal slices, as radiologists look at them: uint8 (H, W, 3).

    The first column has the slices in which the rendering changed most, or those that are most
    uncertain if it changed nothing; the others run through the structures. Outline: coarse; fill:
    refined; points from yellow (sure) to red (undecided).
    """
    upright = _turned(volume, result)
    box = _box_of(upright)
    window = _window(upright.image[box])
    colors = _colors(result.structures)
    rows = []
    for axis, left, right in _PLANES:
        numbers = _slices(upright, box, axis)
        if numbers:
            tiles = [_tile(upright, box, axis, n, window, colors) for n in numbers]
            rows.append(np.concatenate(tiles, axis=1))
            _write(rows[-1], left, 2)
            _write(rows[-1], right, _TILE - 16)
    return np.concatenate(rows, axis=0)


def _turned(volume: Volume, result: Segmentation) -> _Upright:
    axes = canonical_axes(result.geometry)
    shape = result.refined.shape
    image = volume.array
    if image.shape != shape:  # a finer grid than the scan's
        rows = [np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=True)]
        image = image[np.ix_(*rows)]
    points = result.points
    return _Upright(
        axes.apply(image), axes.apply(result.coarse), axes.apply(result.refined),
        _turned_points(points.indices, axes, shape), points.uncertainty, points.changed,
        np.array(axes.geometry(result.geometry).spacing[::-1]),
    )  # fmt: skip


def _turned_points(indices: np.ndarray, axes: AxisMap, shape: tuple[int, ...]) -> np.ndarray:
    """(P, 3) voxels (i, j, k) of the result's grid -> indices of (S, A, R)."""
    turned = np.stack(
        [
            shape[2 - old] - 1 - indices[:, old] if flip else indices[:, old]
            for old, flip in zip(axes.order, axes.flip, strict=True)
        ],
        axis=1,
    )
    return turned[:, ::-1]


def _box_of(upright: _Upright) -> tuple[slice, ...]:
    """What was found with a margin; the whole image if that is nothing."""
    found = (upright.coarse > 0) | (upright.refined > 0)
    places = ndimage.find_objects(found.astype(np.uint8))
    if not places or places[0] is None:
        return tuple(slice(0, n) for n in found.shape)
    margins = np.ceil(_MARGIN / upright.spacing).astype(int)
    return tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(places[0], margins, found.shape, strict=True)
    )


def _window(image: np.ndarray) -> tuple[float, float]:
    """The values shown as black and white."""
    step = max(1, image.size // 500_000)
    values = image.reshape(-1)[::step].astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99.5])
    return float(low), float(high if high > low else low + 1)


def _colors(structures: Sequence[Structure]) -> np.ndarray:
    """(values, 3) RGB 0..255 by label."""
    table = np.full((max((s.value for s in structures), default=0) + 1, 3), 255.0)
    for structure in structures:
        table[structure.value] = np.array(structure.color) * 255
    return table


def _slices(upright: _Upright, box: tuple[slice, ...], axis: int) -> list[int]:
    """Which slices across an axis are shown; of a flat image, the only one across its plane."""
    shape = upright.image.shape
    if shape[axis] == 1:
        return [0]
    if 1 in shape:
        return []
    low, high = box[axis].start, box[axis].stop
    across = tuple(n for n in range(3) if n != axis)
    found = np.cumsum((upright.refined[box] > 0).sum(axis=across)).astype(np.float64)
    if not found[-1]:
        found = np.arange(1.0, high - low + 1)
    shares = np.linspace(0, 1, _COLUMNS + 1)[1:-1]  # as much of what was found lies between two
    through = low + np.searchsorted(found, shares * found[-1])
    weight = upright.changed if upright.changed.any() else upright.uncertainty
    at = np.bincount(upright.points[:, axis], weights=weight)
    most = int(at.argmax()) if len(at) else int(through[len(through) // 2])
    return [most, *through[::-1].tolist()]


def _tile(
    upright: _Upright,
    box: tuple[slice, ...],
    axis: int,
    number: int,
    window: tuple[float, float],
    colors: np.ndarray,
) -> np.ndarray:
    """One slice, uint8 (H, tile, 3): feet or back down, the patient's right at the left."""
    rows, columns = (n for n in range(3) if n != axis)
    place = list(box)
    place[axis] = slice(number, number + 1)
    image, coarse, refined = (
        np.squeeze(x[tuple(place)], axis)[::-1, ::-1]
        for x in (upright.image, upright.coarse, upright.refined)
    )
    size = np.array(image.shape) * upright.spacing[[rows, columns]]
    scale = min(_TILE / size[1], _TALLEST / size[0])  # pixels a mm
    height, width = np.maximum(1, np.rint(size * scale).astype(int))
    zoom = scale * upright.spacing[[rows, columns]]  # pixels a voxel
    at = np.ix_(
        np.arange(height) * image.shape[0] // height, np.arange(width) * image.shape[1] // width
    )
    picture = _painted(image[at], coarse[at], refined[at], window, colors)
    here = np.flatnonzero(upright.points[:, axis] == number)[:_MOST_POINTS]
    _dot(
        picture,
        (box[rows].stop - 0.5 - upright.points[here, rows]) * zoom[0],
        (box[columns].stop - 0.5 - upright.points[here, columns]) * zoom[1],
        upright.uncertainty[here],
    )
    tile = np.full((max(height, _LETTER), _TILE, 3), _DARK, np.uint8)
    left = (_TILE - width) // 2
    tile[:height, left : left + width] = np.rint(picture)
    tile[:, -1] = _DARK
    return tile


def _painted(
    image: np.ndarray,
    coarse: np.ndarray,
    refined: np.ndarray,
    window: tuple[float, float],
    colors: np.ndarray,
) -> np.ndarray:
    """A slice (H, W) with fill and outline: float (H, W, 3), 0..255."""
    low, high = window
    shade = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    picture = np.repeat(np.nan_to_num(shade)[..., None] * 255, 3, axis=2)
    inside, edge = refined > 0, _edges(coarse)
    picture[inside] = (1 - _FILL) * picture[inside] + _FILL * colors[refined[inside]]
    picture[edge] = colors[coarse[edge]]
    return picture


def _edges(labels: np.ndarray) -> np.ndarray:
    """Bool (H, W): labelled pixels with another label beside them."""
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edges: np.ndarray = (inner > 0) & np.any([inner != other for other in beside], axis=0)
    return edges


def _dot(picture: np.ndarray, y: np.ndarray, x: np.ndarray, uncertainty: np.ndarray) -> None:
    """Points of 2 x 2 pixels."""
    shades = _SURE + np.clip(uncertainty, 0, 1)[:, None] * (_UNDECIDED - _SURE)
    for down in (0, 1):
        for across in (0, 1):
            row = np.clip(y.astype(int) - down, 0, picture.shape[0] - 1)
            column = np.clip(x.astype(int) - across, 0, picture.shape[1] - 1)
            picture[row, column] = shades


def _write(picture: np.ndarray, letter: str, left: int) -> None:
    """A letter at the lower edge, white on dark."""
    bits = np.array([[int(bit) for bit in line] for line in _GLYPHS[letter]], bool)
    large = np.pad(np.repeat(np.repeat(bits, 2, axis=0), 2, axis=1), 2)
    picture[-_LETTER:, left : left + large.shape[1]] = np.where(large, 255, _DARK)[..., None]
