"""Long work in short pieces, between which the event loop turns."""

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import vtk

from MorseCore.system.steps import finished
from MorseSegmentLib.scene.stepping import StepRunner, inThread, removed, updated


class Loop:
    """An event loop that turns when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def turn(self) -> None:
        actions, self.waiting = self.waiting, []
        for action in actions:
            action()


def work(done: list[int], pieces: int, seconds: float = 0.04) -> Generator[None, None, str]:
    for number in range(pieces):
        time.sleep(seconds)
        done.append(number)
        yield
    return "made"


def fail(error: Exception) -> None:
    raise error


def test_a_turn_ends_soon_and_the_next_one_goes_on() -> None:
    loop, pieces, made = Loop(), [], []
    stepper = StepRunner(lambda action: loop.waiting.append(action))
    stepper.start(work(pieces, 3), made.append, fail)
    for expected in (1, 2, 3):
        assert len(pieces) == expected
        assert stepper.isBusy
        assert made == []
        loop.turn()
    assert made == [], "what was long has its end in a turn of its own"
    assert stepper.isAtItsEnd
    loop.turn()
    assert made == ["made"]
    assert not stepper.isBusy


def test_short_work_is_done_within_the_call() -> None:
    made: list[str] = []
    runner = StepRunner(Loop().waiting.append, turn=600)
    runner.start(work([], 5, seconds=0), made.append, fail)
    assert made == ["made"]


def test_without_an_event_loop_all_is_done_at_once() -> None:
    made: list[str] = []
    StepRunner(None).start(work([], 3), made.append, fail)
    assert made == ["made"]


def test_what_is_stopped_is_never_done() -> None:
    loop, pieces, made = Loop(), [], []
    stepper = StepRunner(lambda action: loop.waiting.append(action))
    stepper.start(work(pieces, 3), made.append, fail)
    stepper.stop()
    loop.turn()
    assert (pieces, made) == ([0], [])


def test_an_error_is_told_once_and_ends_the_work() -> None:
    def broken() -> Generator[None, None, None]:
        yield
        raise ValueError("no")

    errors: list[Exception] = []
    stepper = StepRunner(None)
    stepper.start(broken(), fail, errors.append)
    assert [str(error) for error in errors] == ["no"]
    assert not stepper.isBusy


def test_a_filter_of_vtk_works_while_python_goes_on() -> None:
    source = vtk.vtkRTAnalyticSource()
    source.SetWholeExtent(0, 120, 0, 120, 0, 120)
    source.Update()
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(source.GetOutput())
    contour.SetValue(0, 150.0)
    steps = updated(contour)
    next(steps)
    surface = finished(steps)
    assert surface.GetNumberOfPolys() > 1000


def test_a_new_work_takes_the_place_of_the_old_one() -> None:
    loop, made = Loop(), []
    stepper = StepRunner(lambda action: loop.waiting.append(action))
    stepper.start(work([], 9), made.append, fail)
    stepper.start(work([], 1, seconds=0), lambda _: made.append("new"), fail)
    loop.turn()
    assert made == ["new"]


def test_with_no_time_a_turn_is_a_step() -> None:
    loop, pieces = Loop(), []
    stepper = StepRunner(lambda action: loop.waiting.append(action), turn=0)
    stepper.start(work(pieces, 3, seconds=0), fail, fail)
    assert pieces == [0]
    loop.turn()
    assert pieces == [0, 1]


def test_a_thread_s_work_is_waited_for_in_steps_and_its_error_is_raised_here() -> None:
    release = threading.Event()

    def wait() -> str:
        assert release.wait(30)
        return threading.current_thread().name

    steps = inThread(wait)
    next(steps)
    next(steps)
    release.set()
    assert finished(steps) != threading.current_thread().name
    with pytest.raises(ZeroDivisionError):
        finished(inThread(lambda: 1 // 0))


def test_a_folder_is_gone_after_the_steps_and_if_they_are_closed(tmp_path: Path) -> None:
    for name in ("in steps", "closed"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "map.npy").write_bytes(bytes(1000))
    finished(removed(tmp_path / "in steps"))
    steps = removed(tmp_path / "closed")
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []
