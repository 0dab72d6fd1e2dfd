"""Which of many points a click into a 3D view meant. numpy only."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Click3D", "nearestProjected"]

_TIE = 1.5  # pixels; points drawn so near to each other hide one another


@dataclass(frozen=True, eq=False)
class Click3D:
    """A place in a 3D view, and how the view projects."""

    matrix: np.ndarray
    """(4, 4): world RAS mm, homogeneous, to the view's cube, -1..1 along each axis; depth last."""
    size: tuple[int, int]
    """Width and height of the view in pixels."""
    position: tuple[int, int]
    """Pixels from the lower left corner."""


def nearestProjected(points: np.ndarray, click: Click3D, tolerance: float) -> int | None:
    """The point that is drawn nearest to a click; None if none is drawn within ``tolerance``.

    Of points that are drawn at one place, the one in front: it hides the others. Points behind
    the camera, or beyond what it shows, are drawn nowhere. 8192 points take about a millisecond.

    :param points: (P, 3) world RAS, mm.
    :param tolerance: pixels.
    :return: row of ``points``.
    """
    homogeneous = points @ click.matrix[:, :3].T + click.matrix[:, 3]  # (P, 4)
    scale = homogeneous[:, 3]
    ahead = np.flatnonzero(scale > 0)
    place = homogeneous[ahead, :3] / scale[ahead, None]  # -1..1 where it is drawn
    seen = (np.abs(place) <= 1).all(axis=1)
    ahead, place = ahead[seen], place[seen]
    pixels = (place[:, :2] + 1) / 2 * click.size
    distances = np.linalg.norm(pixels - click.position, axis=1)
    if not len(distances) or distances.min() > tolerance:
        return None
    candidates = np.flatnonzero(distances <= distances.min() + _TIE)
    return int(ahead[candidates[place[candidates, 2].argmin()]])
