"""Long work in short pieces, so that Slicer stays responsive. No Qt."""

import contextlib
import importlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import vtk

__all__ = ["Later", "StepRunner", "Steps", "imported", "inThread", "removed", "updated"]

_PATIENCE = 0.005  # seconds
_TURN = 0.03  # seconds after which Slicer gets its turn; with the longest piece, below 0.1

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work that pauses at each ``yield``, each piece some hundredths of a second; it returns what it
made. :func:`MorseCore.system.steps.finished` does it all at once."""
Later = Callable[[Callable[[], None]], None]
"""Calls a function in the next turn of the event loop."""


def inThread(work: Callable[[], T]) -> Steps[T]:
    """What ``work`` returns, or raises, in a thread of its own; what it reads is nobody else's.

    VTK, SciPy and numpy let go of Python's lock meanwhile, so that the application can answer.
    """
    made: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            made.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        thread.join(_PATIENCE)  # in Slicer, threads only get Python's lock while it is waited
        yield
    if failed:
        raise failed[0]
    return made[0]


def updated(algorithm: vtk.vtkObject) -> Steps[vtk.vtkObject]:
    """The output of a VTK filter that works in a thread.

    Made and deleted here: VTK only collects what refers to itself in the main thread.
    """
    yield from inThread(algorithm.Update)
    return algorithm.GetOutput()


def imported(*names: str) -> Steps[None]:
    """Import modules that take long, in a thread; a later ``import`` finds them, or says why not.

    SciPy takes 0.2 s of computing and, from a cold disk, seconds.
    """

    def load() -> None:
        with contextlib.suppress(ImportError):
            for name in names:
                importlib.import_module(name)

    if all(name in sys.modules for name in names):
        return
    yield from inThread(load)


def removed(folder: Path) -> Steps[None]:
    """Remove a folder in a thread, or at once if the steps are closed.

    The maps of a head at twice the resolution are 2 GB, which takes the system 0.2 s.
    """
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        yield from inThread(remove)
    finally:
        remove()


class StepRunner:
    """Does one job at a time: some steps now, the others in later turns of the event loop.

    Example::

        stepper = StepRunner(later=lambda f: qt.QTimer.singleShot(0, f))
        stepper.start(writer.writeInSteps(labels, geometry), done=print, failed=print)
        stepper.stop()           # drops what is not done yet

    :param later: None if there is no event loop; then everything is done at once.
    :param turn: seconds after which a turn ends; 0: with every step, for what nobody waits for.
    """

    def __init__(self, later: Later | None, *, turn: float = _TURN) -> None:
        self._later, self._seconds = later, turn
        self._steps: Steps[Any] | None = None
        self._isLong = False
        self.isAtItsEnd = False
        """Whether every step is done and ``done`` waits for its turn: too late to cancel."""

    @property
    def isBusy(self) -> bool:
        """Whether there is work left to do."""
        return self._steps is not None

    def start(
        self, steps: Steps[T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        """Begin work, in place of any that is in progress; short work ends within this call.

        :param done: called with the result; or ``failed``, with the error. After a stop, neither.
        """
        self.stop()
        self._steps, self._isLong, self.isAtItsEnd = steps, False, False
        self._turn(steps, done, failed)

    def stop(self) -> None:
        """Drop the work that is not done yet."""
        steps, self._steps, self.isAtItsEnd = self._steps, None, False
        if steps is not None:
            steps.close()

    def _turn(
        self, steps: Steps[T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        end = time.monotonic() + self._seconds
        while self._steps is steps:
            try:
                next(steps)
            except StopIteration as stop:
                self._afterTurn(end, partial(self._finish, steps, partial(done, stop.value)))
                return
            except Exception as error:
                self._steps = None
                failed(error)
                return
            if self._later is not None and time.monotonic() >= end:
                self._isLong = True
                self._later(lambda: self._turn(steps, done, failed))
                return

    def _afterTurn(self, end: float, action: Callable[[], None]) -> None:
        """Do it now, or in a turn of its own if the work was long: it may take long as well."""
        if self._later is not None and (self._isLong or time.monotonic() > end):
            self.isAtItsEnd = True
            self._later(action)
        else:
            action()

    def _finish(self, steps: Steps[T], done: Callable[[], None]) -> None:
        if self._steps is steps:
            self._steps, self.isAtItsEnd = None, False
            done()
