"""What may happen to a scan of a head: another contrast, thick slices, another place or order.

Arrays are (K, J, I). Places are in the patient (RAS mm), so a label of the changed scan is compared
with one of the scan that it came from by where it lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import AxisMap, canonical_axes
from MorseCore.images.resampling import index_transform

__all__ = ["CHANGES", "Changed", "labels_on", "smaller_head", "thick_slices"]

Mask = Callable[[], np.ndarray]
"""The brain's, (K, J, I) bool, for the change that needs it."""
_DARK = 0.1  # of the 99th percentile: below it is air
_SKULL_MM = 3.0  # around the brain, that stays of a stripped head
_TURN = 30.0  # degrees


@dataclass(frozen=True, eq=False)
class Changed:
    """A changed scan."""

    volume: Volume
    turn: np.ndarray
    """(4, 4) how the patient moved, RAS mm."""

    def answer(self, labels: np.ndarray, grid: Geometry) -> tuple[np.ndarray, np.ndarray]:
        """The scan's labels on a grid of the patient before, and the part of it that is seen."""
        moved = Geometry(grid.shape, self.turn @ grid.ijk_to_ras)
        source = self.volume.geometry
        seen = np.ones(source.shape, bool)
        return labels_on(labels, source, moved), labels_on(seen, source, moved)


def labels_on(labels: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """The nearest label at each voxel of another grid; 0 beyond the map."""
    matrix = index_transform(source, target)
    axes = np.ogrid[tuple(slice(0, n) for n in target.shape)][::-1]
    inside = np.ones((1, 1, 1), bool)
    steps = []
    for row, n in zip(matrix[:3], source.shape[::-1], strict=True):
        # An axis that does not count is left out, so that parallel grids need no map of indices.
        terms = (
            c * axis for c, axis in zip(row[:3], axes, strict=True) if abs(c) * axis.size > 0.01
        )
        index = np.rint(sum(terms, row[3])).astype(np.int32)
        inside = inside & (index >= 0) & (index < n)
        steps.append(index.clip(0, n - 1))
    found: np.ndarray = labels[steps[2], steps[1], steps[0]] * inside
    return found


def thick_slices(volume: Volume, mm: float) -> Volume:
    """Slices of about ``mm`` from foot to head: the mean of those that are there."""
    column = int(np.abs(volume.geometry.direction[2]).argmax())
    axis, count = 2 - column, max(1, round(mm / volume.geometry.spacing[column]))
    whole = volume.array.shape[axis] // count
    array = volume.array.take(range(whole * count), axis).astype(np.float32)
    starts = np.arange(0, whole * count, count)
    array = np.add.reduceat(array, starts, axis=axis) / count
    ratio, shift = np.ones(4), np.zeros(3)
    ratio[column], shift[column] = count, (count - 1) / 2
    matrix = volume.geometry.ijk_to_ras * ratio
    matrix[:3, 3] = volume.geometry.to_world(shift)
    return replace(volume, array=array, geometry=Geometry(array.shape, matrix))


def smaller_head(geometry: Geometry, share: float) -> Geometry:
    """A grid whose voxels have that share of their size."""
    matrix = geometry.ijk_to_ras * share
    matrix[3, 3] = 1
    return Geometry(geometry.shape, matrix)


def _unit(array: np.ndarray) -> np.ndarray:
    """0 to 1, by the 1st and 99th percentile."""
    low, high = np.percentile(array, (1, 99))
    unit: np.ndarray = np.clip((array.astype(np.float32) - low) / (high - low), 0, 1)
    return unit


def _inverted(volume: Volume, brain: Mask) -> Volume:
    """What is bright is dark, and air stays dark."""
    unit = _unit(volume.array)
    return replace(volume, array=np.where(unit > _DARK, 1 + _DARK - unit, unit))


def _gamma(volume: Volume, brain: Mask) -> Volume:
    return replace(volume, array=np.sqrt(_unit(volume.array)))


def _thick(volume: Volume, brain: Mask) -> Volume:
    return thick_slices(volume, 5.0)


def _stripped(volume: Volume, brain: Mask) -> Volume:
    distance = ndimage.distance_transform_edt(~brain(), sampling=volume.geometry.spacing[::-1])
    return replace(volume, array=np.where(distance <= _SKULL_MM, volume.array, 0))


def _front_half(volume: Volume, brain: Mask) -> Volume:
    column = int(np.abs(volume.geometry.direction[1]).argmax())
    axis, n = 2 - column, volume.array.shape[2 - column]
    is_up = volume.geometry.direction[1, column] > 0
    start, stop = [0, 0, 0], list(volume.array.shape)
    start[axis], stop[axis] = (n // 2, n) if is_up else (0, n // 2)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    geometry = volume.geometry.crop(tuple(start), tuple(stop))  # type: ignore[arg-type]
    return replace(volume, array=volume.array[box], geometry=geometry)


def _stored(flip: tuple[bool, bool, bool]) -> Callable[[Volume, Mask], Volume]:
    """Upright but for the axes (i, j, k) that run backwards, as the header says."""

    def store(volume: Volume, brain: Mask) -> Volume:
        axes = canonical_axes(volume.geometry)
        i, j, k = (a != b for a, b in zip(axes.flip, flip, strict=True))
        turned = AxisMap(axes.order, (i, j, k))
        array = np.ascontiguousarray(turned.apply(volume.array))
        return replace(volume, array=array, geometry=turned.geometry(volume.geometry))

    return store


def _turn_of(geometry: Geometry) -> np.ndarray:
    """Thirty degrees about an axis between all three, through the image's middle."""
    axis, angle = np.ones(3) / np.sqrt(3), np.radians(_TURN)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(4)
    turn[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    middle = geometry.to_world((np.array(geometry.shape[::-1]) - 1) / 2)
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    return turn


def _same_place(change: Callable[[Volume, Mask], Volume]) -> Callable[..., Changed]:
    return lambda volume, brain: Changed(change(volume, brain), np.eye(4))


def _rotated(volume: Volume, brain: Mask) -> Changed:
    """The patient's head is turned, not the voxels."""
    turn = _turn_of(volume.geometry)
    geometry = Geometry(volume.geometry.shape, turn @ volume.geometry.ijk_to_ras)
    return Changed(replace(volume, geometry=geometry), turn)


_ORDERS = {
    "".join("-+"[not f] + axis for f, axis in zip(flip, "RAS", strict=True)): flip
    for flip in product((False, True), repeat=3)
}

CHANGES: Mapping[str, Callable[[Volume, Mask], Changed]] = {
    "original": lambda volume, brain: Changed(volume, np.eye(4)),
    "inverted": _same_place(_inverted),
    "gamma": _same_place(_gamma),
    "5 mm slices": _same_place(_thick),
    "skull-stripped": _same_place(_stripped),
    "rotated 30°": _rotated,
    "front half": _same_place(_front_half),
    **{f"stored {name}": _same_place(_stored(flip)) for name, flip in _ORDERS.items()},
}
"""By name: of a scan and its brain's mask. Of the eight orders in which voxels are
stored, four are mirror images, as their headers say."""
