"""Spoil an image on purpose, in ten ways and three strengths each, to see whether it is noticed.

Left and right exchanged is not among them: no image tells that its header lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

import MorseCore
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume

__all__ = ["APART", "KINDS", "STRENGTHS", "Spoilt", "spoil", "vary"]

STRENGTHS = (0, 1, 2)
APART = ("motion", "contrast", "elsewhere")
"""Kinds that no limit is fitted to; how many of them are noticed is said apart."""
_MARGIN = 3  # voxels around a structure that stay
_HEAD = "head-t1.nii.gz"
_PLACES = ((0.5, 0.75, 0.75), (0.5, 0.12, 0.25), (0.5, 0.8, 0.4))  # of a head, from R, A, S below


@dataclass(frozen=True, eq=False)
class Spoilt:
    """An image that should not be trusted, and what is true of it."""

    image: Volume
    labels: np.ndarray
    """(K, J, I) on the image's grid: what can still be seen."""
    voxels: np.ndarray
    """(C,) what each label had, in voxels of this image: what is lost counts as missed."""
    volume_factor: float = 1.0
    """How much larger its header makes a structure than it is."""


def spoil(kind: str, strength: int, image: Volume, labels: np.ndarray, *, seed: int) -> Spoilt:
    """A spoilt copy.

    :param kind: of :data:`KINDS`. :param strength: 0 little, 1 some, 2 much.
    :param labels: (K, J, I), of the image.
    :param seed: the same copy for the same number.
    """
    draw = np.random.default_rng([seed, list(KINDS).index(kind), strength])
    array = image.array.astype(np.float32)
    return KINDS[kind](replace(image, array=array), labels, strength, draw)


def vary(image: Volume, labels: np.ndarray, *, seed: int) -> Spoilt:
    """A copy that is as good: what another scanner and another person's box would have given.

    Cut by up to a tenth at each end, where no structure comes near; gamma 0.8 to 1.25; some noise.
    """
    draw = np.random.default_rng([seed, len(KINDS)])
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    start, stop = [], []
    for axis, n in enumerate(labels.shape):
        room = (box[axis].start - _MARGIN, n - box[axis].stop - _MARGIN)
        first, last = (int(draw.uniform(0, 0.1) * n) for _ in range(2))
        start.append(min(first, max(0, room[0])))
        stop.append(n - min(last, max(0, room[1])))
    low, high = float(image.array.min()), float(image.array.max())
    share = (image.array.astype(np.float32) - low) / max(high - low, 1e-30)
    array = share ** np.exp(draw.uniform(-0.22, 0.22)) * (high - low) + low
    array = array + draw.normal(0, 0.05 * float(array.std()), array.shape)
    (a, b, c), (d, e, f) = start, stop
    where = (slice(a, d), slice(b, e), slice(c, f))
    geometry = image.geometry.crop((a, b, c), (d, e, f))
    changed = replace(image, array=array[where].astype(np.float32), geometry=geometry)
    return Spoilt(changed, labels[where], _counts(labels))


def _counts(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels.ravel()).astype(float)


def _axes(array: np.ndarray) -> list[int]:
    return [axis for axis, n in enumerate(array.shape) if n > 1]


def _shifted(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """A box beside its place: what comes in looks like what was there (a reflection)."""
    axis = int(draw.choice(_axes(image.array)))
    n = image.array.shape[axis]
    steps = max(1, round(n * (0.2, 0.35, 0.5)[strength]))
    ahead = bool(draw.integers(2))
    kept = [slice(None)] * 3
    kept[axis] = slice(steps, None) if ahead else slice(None, n - steps)
    pad = [(0, 0)] * 3
    pad[axis] = (0, steps) if ahead else (steps, 0)
    array = np.pad(image.array[tuple(kept)], pad, mode="symmetric")
    moved = np.pad(labels[tuple(kept)], pad)
    return Spoilt(replace(image, array=array), moved, _counts(labels))


def _turned(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """Upside down, front to back, or two axes exchanged; the header does not say so."""
    if strength < 2 or image.array.shape[0] == 1:
        axis = strength if image.array.shape[0] > 1 else 1
        return Spoilt(
            replace(image, array=np.flip(image.array, axis).copy()),
            np.flip(labels, axis).copy(), _counts(labels),
        )  # fmt: skip
    turned = image.array.swapaxes(0, 1).copy()
    geometry = Geometry(_shape(turned), image.geometry.ijk_to_ras)
    return Spoilt(
        replace(image, array=turned, geometry=geometry), labels.swapaxes(0, 1).copy(),
        _counts(labels),
    )  # fmt: skip


def _misspaced(
    image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator
) -> Spoilt:
    """A header with voxels that are too large, or too small."""
    factor = (1.3, 0.7, 1.7)[strength]
    matrix = image.geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= factor
    geometry = Geometry(image.geometry.shape, matrix)
    dims = 3 if image.array.shape[0] > 1 else 2
    return Spoilt(replace(image, geometry=geometry), labels, _counts(labels), factor**dims)


def _thick(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """Thick slices: the mean of four, six or eight."""
    axis, count = int(draw.choice(_axes(image.array))), (4, 6, 8)[strength]
    n = max(1, image.array.shape[axis] // count)
    count = min(count, image.array.shape[axis])
    kept = [slice(None)] * 3
    kept[axis] = slice(0, n * count)
    array = np.moveaxis(image.array[tuple(kept)], axis, 0)
    array = np.moveaxis(array.reshape(n, count, *array.shape[1:]).mean(axis=1), 0, axis)
    inside = [slice(None)] * 3
    inside[axis] = slice(count // 2, n * count, count)
    thinned = labels[tuple(inside)]
    matrix = image.geometry.ijk_to_ras.copy()
    column = 2 - axis
    matrix[:3, 3] += matrix[:3, column] * (count - 1) / 2
    matrix[:3, column] *= count
    geometry = Geometry(_shape(array), matrix)
    return Spoilt(
        replace(image, array=np.ascontiguousarray(array), geometry=geometry),
        np.ascontiguousarray(thinned), _counts(thinned),
    )  # fmt: skip


def _noisy(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    sd = float(image.array.std()) * (0.75, 1.5, 3.0)[strength]
    array = image.array + draw.normal(0, sd, image.array.shape).astype(np.float32)
    return Spoilt(replace(image, array=array), labels, _counts(labels))


def _moving(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """The head moved between lines: parts of its Fourier transform were seen elsewhere."""
    axis = int(draw.choice(_axes(image.array)))
    seen, n = np.fft.fftn(image.array), image.array.shape[axis]
    lines = [np.fft.fftfreq(m) for m in image.array.shape]
    reach = (3.0, 6.0, 10.0)[strength]
    parts = min((4, 8, 16)[strength], n - 1)
    edges = np.sort(draw.choice(np.arange(1, n), parts, replace=False))
    order = np.argsort(lines[axis])
    for part in np.split(order, edges):
        moves = draw.uniform(-reach, reach, 3)
        where: list[slice | np.ndarray] = [slice(None)] * 3
        where[axis] = part
        phase = sum(
            np.reshape(f[part] if a == axis else f, [-1 if b == a else 1 for b in range(3)]) * m
            for a, (f, m) in enumerate(zip(lines, moves, strict=True))
        )
        seen[tuple(where)] *= np.exp(-2j * np.pi * phase)
    array = np.abs(np.fft.ifftn(seen)).astype(np.float32)
    return Spoilt(replace(image, array=array), labels, _counts(labels))


def _slab(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """Slices that are missing in the middle."""
    axis = int(draw.choice(_axes(image.array)))
    n = image.array.shape[axis]
    length = max(1, round(n * (0.15, 0.25, 0.4)[strength]))
    first = int(draw.integers(n // 4, max(n // 4 + 1, 3 * n // 4 - length + 1)))
    gone = [slice(None)] * 3
    gone[axis] = slice(first, first + length)
    array = image.array.copy()
    array[tuple(gone)] = array.min()
    return Spoilt(replace(image, array=array), labels, _counts(labels))


def _contrast(
    image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator
) -> Spoilt:
    """Inverted, or folded, so that the brightest is as dark as the darkest."""
    low, middle, high = np.percentile(image.array, [1, (50, 50, 35)[strength], 99])
    array = low + high - image.array if strength == 0 else -np.abs(image.array - middle)
    return Spoilt(replace(image, array=array), labels, _counts(labels))


def _air(image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator) -> Spoilt:
    """Nothing but noise, of one voxel, of some, or with a bright end."""
    array = np.abs(draw.normal(0, 1, image.array.shape)).astype(np.float32)
    if strength:
        array = ndimage.gaussian_filter(array, 1.0 if strength == 1 else 2.0)
    if strength == 2:
        ramp = np.linspace(0, 3 * float(array.std()), array.shape[1], dtype=np.float32)
        array = array + ramp[None, :, None]
    return Spoilt(replace(image, array=array), np.zeros_like(labels), _counts(labels) * 0)


def _elsewhere(
    image: Volume, labels: np.ndarray, strength: int, draw: np.random.Generator
) -> Spoilt:
    """Another part of the body: a box of a head that lies elsewhere, as large in voxels."""
    head = read_volume(Path(MorseCore.__file__).parent / "samples" / _HEAD)
    shape = image.array.shape
    # Magnified where the image is larger than the part that is to be shown.
    zoom = max(1.0, *(n / 64 for n in shape))
    middle = [
        f * n + draw.uniform(-4, 4)
        for f, n in zip(_PLACES[strength][::-1], head.array.shape, strict=True)
    ]
    steps = [(np.arange(n) - (n - 1) / 2) / zoom + m for n, m in zip(shape, middle, strict=True)]
    array = ndimage.map_coordinates(
        head.array.astype(np.float32), np.meshgrid(*steps, indexing="ij"), order=1, mode="reflect"
    )
    array += draw.normal(0, 1e-3 * float(array.std()) + 1e-6, shape).astype(np.float32)
    return Spoilt(replace(image, array=array), np.zeros_like(labels), _counts(labels) * 0)


def _shape(array: np.ndarray) -> tuple[int, int, int]:
    k, j, i = array.shape
    return k, j, i


Maker = Callable[[Volume, np.ndarray, int, np.random.Generator], Spoilt]
KINDS: Mapping[str, Maker] = {
    "shifted box": _shifted,
    "turned": _turned,
    "wrong spacing": _misspaced,
    "thick slices": _thick,
    "noise": _noisy,
    "missing slab": _slab,
    "air": _air,
    "motion": _moving,
    "contrast": _contrast,
    "elsewhere": _elsewhere,
}
"""What is done to an image. A model of any contrast is not asked for another one."""
