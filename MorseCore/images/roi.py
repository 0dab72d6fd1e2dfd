"""A box that limits where to segment, in patient or in voxel coordinates."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from MorseCore.config import shorten
from MorseCore.errors import ConfigError, GeometryError
from MorseCore.geometry import Geometry

__all__ = ["Roi", "parse_roi", "roi_to_box"]

_EXPECTED = "six numbers as r0,r1,a0,a1,s0,s1 (RAS mm) or ijk:i0,i1,j0,j1,k0,k1 (voxels)"
_TOUCH = 1e-6  # voxels; a box that ends on a voxel's face does not take in the next voxel

Triple = tuple[float, float, float]
Box = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class Roi:
    """An upright box, in RAS mm or in voxels.

    Example::

        roi = parse_roi("-20,20,-35,5,0,60")
        start, stop = roi_to_box(roi, geometry)      # array[start[0]:stop[0], ...]

    :raises ConfigError: if a bound is not finite, or a lower bound is not below the upper one.
    """

    lower: Triple
    """Smallest r, a, s in mm, or first voxel i, j, k."""
    upper: Triple
    """Largest r, a, s in mm, or one past the last voxel i, j, k."""
    frame: Literal["ras", "ijk"] = "ras"

    def __post_init__(self) -> None:
        for axis, low, high in zip(self.frame, self.lower, self.upper, strict=True):
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ConfigError(
                    f"The region's bounds along {axis} must be finite; found {low:g} and {high:g}."
                )
            if low >= high:
                raise ConfigError(
                    f"The region's lower bound along {axis} must be below its upper bound; "
                    f"found {low:g} and {high:g}."
                )
            if self.frame == "ijk" and not (low == int(low) and high == int(high)):
                raise ConfigError(
                    f"A region in voxels needs whole numbers; found {low:g} and {high:g} "
                    f"along {axis}."
                )


def parse_roi(text: str) -> Roi:
    """Read ``r0,r1,a0,a1,s0,s1`` in RAS mm, or ``ijk:i0,i1,j0,j1,k0,k1`` in voxels.

    In voxels the upper end is excluded: ``ijk:0,10,...`` are the first ten.

    :raises ConfigError: if the text is anything else; see also :class:`Roi`.
    """
    prefix, colon, rest = text.strip().rpartition(":")
    frame = prefix.strip().lower() or "ras"
    if frame not in ("ras", "ijk") or (colon and not prefix):
        raise ConfigError(f"A region is given as {_EXPECTED}; found '{shorten(text)}'.")
    fields = rest.split(",")
    if len(fields) != 6:
        raise ConfigError(
            f"A region is given as {_EXPECTED}; found {len(fields)} value(s) in '{shorten(text)}'."
        )
    try:
        r0, r1, a0, a1, s0, s1 = (float(field) for field in fields)
    except ValueError as error:
        raise ConfigError(
            f"A region is given as {_EXPECTED}; '{shorten(text)}' is not all numbers."
        ) from error
    return Roi((r0, a0, s0), (r1, a1, s1), "ijk" if frame == "ijk" else "ras")


def roi_to_box(roi: Roi, geometry: Geometry) -> Box:
    """The voxels a region touches: ``(start, stop)`` in array order (K, J, I), inside the image.

    In an oblique image it is the smallest box of voxels that covers the region.

    :raises GeometryError: if the region lies outside the image.
    """
    low, high = _index_bounds(roi, geometry)
    size = np.asarray(geometry.shape[::-1])
    start = np.clip(np.floor(low + 0.5 + _TOUCH), 0, size).astype(int)
    stop = np.clip(np.ceil(high + 0.5 - _TOUCH), 0, size).astype(int)
    if (start >= stop).any():
        raise GeometryError(
            f"The region {_describe(roi.lower, roi.upper, roi.frame)} lies outside the image, "
            f"which covers {_describe(*_image_bounds(geometry, roi.frame), roi.frame)}."
        )
    i0, j0, k0 = start.tolist()
    i1, j1, k1 = stop.tolist()
    return (k0, j0, i0), (k1, j1, i1)


def _index_bounds(roi: Roi, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest continuous index (i, j, k), voxel n reaching from n - 0.5 to n + 0.5."""
    if roi.frame == "ijk":
        return np.asarray(roi.lower) - 0.5, np.asarray(roi.upper) - 0.5
    corners = geometry.to_index(_corners(roi.lower, roi.upper))
    return corners.min(axis=0), corners.max(axis=0)


def _image_bounds(geometry: Geometry, frame: str) -> tuple[Triple, Triple]:
    k, j, i = geometry.shape
    if frame == "ijk":
        return (0.0, 0.0, 0.0), (float(i), float(j), float(k))
    corners = geometry.to_world(_corners((-0.5, -0.5, -0.5), (i - 0.5, j - 0.5, k - 0.5)))
    (r0, a0, s0), (r1, a1, s1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return (r0, a0, s0), (r1, a1, s1)


def _corners(lower: Triple, upper: Triple) -> np.ndarray:
    return np.array(list(itertools.product(*zip(lower, upper, strict=True))))


def _describe(lower: Triple, upper: Triple, frame: str) -> str:
    unit = " voxels" if frame == "ijk" else " mm"
    spans = zip(frame.upper() if frame == "ras" else frame, lower, upper, strict=True)
    return ", ".join(f"{axis} {low:.5g} to {high:.5g}" for axis, low, high in spans) + unit
