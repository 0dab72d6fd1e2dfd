"""The pictures of a case: slices with outline, fill, points and letters.

And those slices in which two passes of the network differ most.

Drawn with numpy alone and written as JPEG by SimpleITK, so that any installation can.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from scipy import ndimage

from MorseCore.errors import OutputError
from MorseCore.images.imageio import Volume
from MorseCore.images.itkpath import itk_path
from MorseCore.images.modelgrid import AxisMap, canonical_axes
from MorseCore.result import DisputedSlice, Segmentation, Structure
from MorseCore.system.files import atomic_path

__all__ = [
    "LARGEST_PICTURES",
    "draw_disputed",
    "draw_mosaic",
    "on_result_grid",
    "shown_values",
    "write_disputed",
    "write_mosaic",
]

LARGEST_PICTURES = 50_000
"""Bytes of a case's pictures; a cohort of a thousand is 50 MB on a shared drive."""
_LARGEST_DISPUTED = 18_000  # of them
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
    other: np.ndarray
    """A second map with an outline."""
    points: np.ndarray
    """(P, 3)."""
    uncertainty: np.ndarray
    """(P,)."""
    changed: np.ndarray
    """(P,)."""
    spacing: np.ndarray
    """mm along S, A, R."""


def write_mosaic(path: Path, volume: Volume, result: Segmentation) -> None:
    """Write :func:`draw_mosaic` as JPEG. :raises OutputError: if it cannot be written."""
    _write_jpeg(path, draw_mosaic(volume, result), LARGEST_PICTURES - _LARGEST_DISPUTED)


def write_disputed(path: Path, result: Segmentation) -> None:
    """Write :func:`draw_disputed` as JPEG. :raises OutputError: if it cannot be written."""
    _write_jpeg(path, draw_disputed(result), _LARGEST_DISPUTED)


def _write_jpeg(path: Path, picture: np.ndarray, largest: int) -> None:
    """As fine as a number of bytes allows; of much noise with every second pixel, or less."""
    with atomic_path(path) as temporary:
        for step, quality in product((1, 2, 4), _QUALITIES):
            image = SimpleITK.GetImageFromArray(picture[::step, ::step], isVector=True)
            try:
                SimpleITK.WriteImage(image, itk_path(temporary), True, quality)
            except RuntimeError as error:
                raise OutputError(f"{path} cannot be written; is the disk full?") from error
            if temporary.stat().st_size <= largest:
                return


def draw_mosaic(volume: Volume, result: Segmentation) -> np.ndarray:
    """Rows of axial, coronal and sagittal slices, as radiologists look at them: uint8 (H, W, 3).

    The first column has the slices in which the rendering changed most, or those that are most
    uncertain if it changed nothing; the others run through the structures. Outline: coarse; fill:
    refined; points from yellow (sure) to red (undecided).
    """
    upright = _turned(volume, result)
    box = _box_of(upright)
    window = shown_values(upright.image[box])
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


def draw_disputed(result: Segmentation) -> np.ndarray:
    """The slices in which two passes differ most, a row a side: uint8 (H, W, 3).

    Outlines: coarse in the structure's colour, the other pass white; fill: where they differ.

    :param result: has such slices.
    """
    colors, rows = _colors(result.structures), []
    for first in range(0, len(result.disputed), 3):
        tiles = [_disputed_tile(item, colors) for item in result.disputed[first : first + 3]]
        height = max(len(tile) for tile in tiles)
        below = [((0, height - len(tile)), (0, 0), (0, 0)) for tile in tiles]
        padded = [np.pad(t, b, constant_values=_DARK) for t, b in zip(tiles, below, strict=True)]
        rows.append(np.concatenate(padded, axis=1))
    width = max(row.shape[1] for row in rows)
    wide = [
        np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=_DARK) for r in rows
    ]
    return np.concatenate(wide, axis=0)


def _disputed_tile(item: DisputedSlice, colors: np.ndarray) -> np.ndarray:
    axes, none = canonical_axes(item.geometry), np.zeros(0)
    image, coarse, other = (axes.apply(x) for x in (item.image, item.coarse, item.other))
    fill = np.where(coarse != other, np.maximum(coarse, other), 0)
    upright = _Upright(
        image, coarse, fill, other, np.zeros((0, 3), int), none, none,
        np.array(axes.geometry(item.geometry).spacing[::-1]),
    )  # fmt: skip
    box = _box_of(upright)
    axis, left, right = _PLANES[image.shape.index(1)]
    tile = _tile(upright, box, axis, 0, shown_values(image[box]), colors)
    _write(tile, left, 2)
    _write(tile, right, _TILE - 16)
    return tile


def on_result_grid(volume: Volume, result: Segmentation) -> np.ndarray:
    """The scan's voxels, (K, J, I), repeated where the result is finer."""
    shape, image = result.refined.shape, volume.array
    if image.shape == shape:
        return image
    rows = [np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=True)]
    finer: np.ndarray = image[np.ix_(*rows)]
    return finer


def _turned(volume: Volume, result: Segmentation) -> _Upright:
    axes = canonical_axes(result.geometry)
    shape, image, points = result.refined.shape, on_result_grid(volume, result), result.points
    coarse = axes.apply(result.coarse)
    return _Upright(
        axes.apply(image), coarse, axes.apply(result.refined), coarse,
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


def shown_values(image: np.ndarray) -> tuple[float, float]:
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
    image, coarse, refined, other = (
        np.squeeze(x[tuple(place)], axis)[::-1, ::-1]
        for x in (upright.image, upright.coarse, upright.refined, upright.other)
    )
    size = np.array(image.shape) * upright.spacing[[rows, columns]]
    scale = min(_TILE / size[1], _TALLEST / size[0])  # pixels a mm
    height, width = np.maximum(1, np.rint(size * scale).astype(int))
    zoom = scale * upright.spacing[[rows, columns]]  # pixels a voxel
    at = np.ix_(
        np.arange(height) * image.shape[0] // height, np.arange(width) * image.shape[1] // width
    )
    picture = _painted(image[at], coarse[at], refined[at], other[at], window, colors)
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
    other: np.ndarray,
    window: tuple[float, float],
    colors: np.ndarray,
) -> np.ndarray:
    """A slice (H, W) with fill and outlines: float (H, W, 3), 0..255."""
    low, high = window
    shade = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    picture = np.repeat(np.nan_to_num(shade)[..., None] * 255, 3, axis=2)
    inside, edge = refined > 0, _edges(coarse)
    picture[inside] = (1 - _FILL) * picture[inside] + _FILL * colors[refined[inside]]
    picture[_edges(other)] = 255
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
