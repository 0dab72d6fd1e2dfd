"""Clicks into slice views, as places in the world. No Qt of its own."""

from collections.abc import Callable
from typing import Any

import vtk

__all__ = ["ViewClicks"]

_STILL = 2  # pixels by which a click may move and be no drag


class ViewClicks:
    """Tells where slice views are clicked; locked markups say nothing themselves.

    :param onClick: called with world RAS, mm.
    """

    def __init__(self, onClick: Callable[[tuple[float, float, float]], None]) -> None:
        self._onClick = onClick
        self._observed: list[tuple[Any, int]] = []
        self._pressed = (0, 0)

    def listen(self, layoutManager: Any) -> None:
        """Listen to every slice view of slicer.app.layoutManager(); None: there are no views."""
        self.close()
        if layoutManager is None:
            return
        for name in layoutManager.sliceViewNames():
            widget = layoutManager.sliceWidget(name)
            interactor, sliceNode = widget.sliceView().interactor(), widget.mrmlSliceNode()
            self._observe(interactor, "LeftButtonPressEvent", self._onPress)
            self._observe(
                interactor,
                "LeftButtonReleaseEvent",
                lambda caller, event, node=sliceNode: self._onRelease(caller, node),
            )

    def close(self) -> None:
        """Listen no more."""
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed.clear()

    def _observe(self, interactor: Any, event: str, slot: Callable[..., None]) -> None:
        self._observed.append((interactor, interactor.AddObserver(event, slot)))

    def _onPress(self, interactor: vtk.vtkObject, _event: str) -> None:
        self._pressed = interactor.GetEventPosition()

    def _onRelease(self, interactor: vtk.vtkObject, sliceNode: vtk.vtkObject) -> None:
        x, y = interactor.GetEventPosition()
        if abs(x - self._pressed[0]) > _STILL or abs(y - self._pressed[1]) > _STILL:
            return
        r, a, s, _ = sliceNode.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))
        self._onClick((r, a, s))
