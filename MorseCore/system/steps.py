"""Long work in short steps, for a program that must answer its user in between."""

from collections.abc import Generator
from typing import TypeVar

__all__ = ["finished"]

_Result = TypeVar("_Result")


def finished(steps: Generator[object, None, _Result]) -> _Result:
    """Do all steps at once; what the generator returns.

    Example::

        shown = finished(writer.showInSteps(result))
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
