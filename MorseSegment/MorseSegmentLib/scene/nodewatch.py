"""Hears when one node is modified. No Qt."""

from collections.abc import Callable
from typing import Any

import vtk

__all__ = ["NodeWatch"]


class NodeWatch:
    """Observes one node at a time.

    Example::

        watch = NodeWatch(panel.refresh)
        watch.look(roiNode)     # None: at nothing
    """

    def __init__(self, onChange: Callable[[], None]) -> None:
        self._onChange = onChange
        self._node: Any = None
        self._tag = 0

    def look(self, node: Any) -> None:
        """Observe this node, and no longer the former."""
        if node is self._node:
            return
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onEvent)

    def _onEvent(self, *_event: Any) -> None:
        self._onChange()
