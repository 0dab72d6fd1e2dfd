"""What can be taken back, the last first."""

from collections.abc import Callable

__all__ = ["UndoStack"]


class UndoStack:
    """Named steps back; one stack for all of *Refine further*, or one for each kind.

    Example::

        undo = UndoStack()
        LocalWriter(scene, shown, undo).write(block, geometry)
        undo.title          # "Re-rendered box", None if there is nothing to undo
        undo.undo()         # takes it back and returns its title

    :param limit: the oldest steps beyond it are forgotten.
    """

    def __init__(self, limit: int = 20) -> None:
        if limit < 1:
            raise ValueError(f"An undo stack needs room for one step at least; found {limit}.")
        self._limit = limit
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def title(self) -> str | None:
        """What :meth:`undo` would take back; for the button's text."""
        return self._steps[-1][0] if self._steps else None

    def push(self, title: str, step: Callable[[], None]) -> None:
        """Remember how to take back what was just done."""
        self._steps.append((title, step))
        del self._steps[: -self._limit]

    def undo(self) -> str | None:
        """Take the last step back; its title, None if there was none.

        :raises MorseError: if what it needs is no longer in the scene; the step is forgotten.
        """
        if not self._steps:
            return None
        title, step = self._steps.pop()
        step()
        return title

    def clear(self) -> None:
        """Forget everything: the scene was closed."""
        self._steps.clear()
