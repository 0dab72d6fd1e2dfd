"""How much there is to compute for a scan, before it is computed. numpy only."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from MorseCore.geometry import Geometry
from MorseCore.images.modelgrid import model_grid

__all__ = ["Workload", "plan_workload", "window_starts"]


@dataclass(frozen=True)
class Workload:
    """What the time of a run grows with."""

    windows: int
    """Passes through the backbone."""
    points: int
    """Points that are rendered at most, counted once a window; how many are uncertain only the
    image says."""
    voxels: int
    """Of the scan, or of its region, which is brought to the model's grid and back."""


def plan_workload(
    geometry: Geometry,
    *,
    window: Sequence[int],
    spacing: tuple[float, ...] | None,
    overlap: float,
    points: int,
    passes: int,
) -> Workload:
    """The work of segmenting with a renderer of so many points.

    :param geometry: grid of the scan, or of its region.
    :param window: in array order, (K,) J, I; two sizes for a 2D model.
    :param spacing: the model's, mm along x, y[, z]; None if it keeps the scan's.
    :param overlap: of windows.
    :param points: a window and pass.
    :raises GeometryError: if the model's grid would be too large to hold.
    """
    dims = len(window)
    wanted = None if spacing is None else (spacing[0], spacing[1], (*spacing, 1.0)[2])
    _, grid = model_grid(geometry, spacing=wanted, spatial_dims=dims)
    layers = 1 if dims == 3 else grid.shape[0]
    plane = [max(n, size) for n, size in zip(grid.shape[-dims:], window, strict=True)]
    windows = layers * len(window_starts(plane, window, overlap=overlap))
    return Workload(windows, windows * min(points * passes, prod(window)), prod(geometry.shape))


def window_starts(
    size: Sequence[int], window: Sequence[int], *, overlap: float
) -> list[tuple[int, ...]]:
    """First voxels of the windows that cover ``size``, evenly spaced, last axis fastest.

    Neighbours share at least ``overlap`` (0 <= overlap < 1) of the window, rounded to whole voxels.

    :raises ValueError: if the window is larger than the image (pad it first) or ``overlap`` is not
        in [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1); found {overlap}")
    return list(
        itertools.product(
            *(_starts_along(*sizes, overlap) for sizes in zip(size, window, strict=True))
        )
    )


def _starts_along(size: int, window: int, overlap: float) -> list[int]:
    if not 1 <= window <= size:
        raise ValueError(f"a window of {window} voxels does not fit in {size}; pad the image first")
    step = max(1, int(window * (1 - overlap)))
    gaps = math.ceil((size - window) / step)
    if gaps == 0:
        return [0]
    return [round(n * (size - window) / gaps) for n in range(gaps + 1)]
