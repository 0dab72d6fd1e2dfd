"""Clicks into slice and 3D views, as places. No Qt of its own."""

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from MorseSegmentLib.scene.projection import Click3D

__all__ = ["ViewClicks"]

_STILL = 2  # pixels by which a click may move and be no drag

# Locked markups say nothing of a click. In a 3D view the press goes to the camera then, and that
# ends it: an observer of the interactor hears of it only if it comes before the view's own, which
# has priority 0. (Of unlocked markups neither press nor release would arrive.)
_BEFORE_THE_VIEW = 1.0


class ViewClicks:
    """Tells where views are clicked; the views work as ever.

    :param onSlice: called with world RAS, mm.
    :param on3D: called with a :class:`MorseSegmentLib.scene.projection.Click3D`.
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
        """Listen no more."""
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
