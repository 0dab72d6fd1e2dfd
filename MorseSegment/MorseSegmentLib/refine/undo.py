"""The steps that can be undone, the last one first."""

from collections.abc import Callable
from dataclasses import dataclass

from MorseCore.system.steps import finished
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.stepping import Steps

__all__ = ["TakenBack", "UndoStack"]


@dataclass(frozen=True)
class TakenBack:
    """The outcome of undoing a step."""

    title: str = ""
    """Of the step; the stack fills it in."""
    note: str = ""
    """A sentence on what could not be undone, or was lost; empty if nothing."""
    look: SceneResult | None = None
    """The result to show again, if the step had shown another."""


class UndoStack:
    """Named undo steps; one stack serves all of *Refine further*.

    Example::

        undo = UndoStack()
        finished(LocalWriter(scene, shown, undo).writeInSteps(block, geometry))
        undo.title          # "Re-rendered box", None if there is nothing to undo
        undo.undo()         # undoes it: TakenBack("Re-rendered box")

    :param limit: the oldest steps beyond it are forgotten.
    """

    def __init__(self, limit: int = 20) -> None:
        if limit < 1:
            raise ValueError(f"An undo stack needs room for one step at least; found {limit}.")
        self._limit = limit
        self._steps: list[tuple[str, Callable[[], Steps[TakenBack]]]] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def title(self) -> str | None:
        """What :meth:`undo` would take back; for the button's text."""
        return self._steps[-1][0] if self._steps else None

    def push(self, title: str, step: Callable[[], Steps[TakenBack]]) -> None:
        """Remember how to undo what was just done."""
        self._steps.append((title, step))
        del self._steps[: -self._limit]

    def undo(self) -> TakenBack | None:
        """Undo the last step, all at once, for scripts; None if there was none.

        :raises MorseError: if what it needs is no longer in the scene; the step is forgotten.
        """
        return finished(self.undoInSteps()) if self._steps else None

    def undoInSteps(self) -> Steps[TakenBack]:
        """As :meth:`undo`, in short pieces; the step is forgotten with the first of them.

        :raises IndexError: if there is no step.
        """
        title, step = self._steps.pop()
        back = yield from step()
        return TakenBack(title, back.note, back.look)

    def clear(self) -> None:
        """Forget everything: the scene was closed."""
        self._steps.clear()
