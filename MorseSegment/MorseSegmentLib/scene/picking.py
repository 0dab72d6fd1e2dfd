"""Clicks into slice and 3D views, and the point that a click means. No Qt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

__all__ = ["Click3D", "ViewClicks", "nearestProjected"]

_TIE = 1.5  # pixels; points drawn so near to each other hide one another
_STILL = 2  # pixels by which a click may move and be no drag
# Locked markups do not report clicks. In a 3D view the press goes to the camera then, and that
# ends it: an observer of the interactor hears of it only if it comes before the view's own, which
# has priority 0. (Of unlocked markups neither press nor release would arrive.)
_BEFORE_THE_VIEW = 1.0


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


class ViewClicks:
    """Reports clicks into views; the views keep working as before.

    :param onSlice: called with world RAS, mm.
    :param on3D: called with a :class:`MorseSegmentLib.scene.picking.Click3D`.
    """

    def __init__(
        self,
        onSlice: Callable[[tuple[float, float, float]], None],
        on3D: Callable[[Click3D], None],
    ) -> None:
        self._onSlice, self._on3D = onSlice, on3D
        self._observed: list[tuple[Any, int]] = []
        self._pressed = (0, 0)

    def listen(self, layoutManager: Any) -> None:
        """Listen to every view of slicer.app.layoutManager(); None: there are no views."""
        self.close()
        if layoutManager is None:
            return
        for name in layoutManager.sliceViewNames():
            widget = layoutManager.sliceWidget(name)
            self.listenToSlice(widget.sliceView().interactor(), widget.mrmlSliceNode())
        for number in range(layoutManager.threeDViewCount):
            self.listenTo3D(layoutManager.threeDWidget(number).threeDView().interactor())

    def listenToSlice(self, interactor: vtk.vtkObject, sliceNode: vtk.vtkObject) -> None:
        """Listen to one slice view as well."""

        def tell(position: tuple[int, int]) -> None:
            r, a, s, _ = sliceNode.GetXYToRAS().MultiplyPoint((*position, 0.0, 1.0))
            self._onSlice((r, a, s))

        self._listen(interactor, tell)

    def listenTo3D(self, interactor: vtk.vtkObject) -> None:
        """Listen to one 3D view as well."""

        def tell(position: tuple[int, int]) -> None:
            window = interactor.GetRenderWindow()
            # The first is the scene's; orientation markers have one of their own.
            renderer = window.GetRenderers().GetFirstRenderer()
            matrix = renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(
                renderer.GetTiledAspectRatio(), -1.0, 1.0
            )
            size = tuple(window.GetSize())
            self._on3D(Click3D(slicer.util.arrayFromVTKMatrix(matrix), size, position))

        self._listen(interactor, tell)

    def close(self) -> None:
        """Stop listening."""
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed.clear()

    def _listen(self, interactor: vtk.vtkObject, tell: Callable[[tuple[int, int]], None]) -> None:
        def onPress(*_event: Any) -> None:
            self._pressed = tuple(interactor.GetEventPosition())

        def onRelease(*_event: Any) -> None:
            x, y = interactor.GetEventPosition()
            if abs(x - self._pressed[0]) <= _STILL and abs(y - self._pressed[1]) <= _STILL:
                tell((x, y))

        slots = {"LeftButtonPressEvent": onPress, "LeftButtonReleaseEvent": onRelease}
        for event, slot in slots.items():
            tag = interactor.AddObserver(event, slot, _BEFORE_THE_VIEW)
            self._observed.append((interactor, tag))
