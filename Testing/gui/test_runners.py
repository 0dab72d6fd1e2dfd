"""Both runners with a worker that only speaks the protocol."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from listeners import Recorder, isAlive
from slicerqt import install, waitFor

install()

from MorseCore.service.protocol import Segment
from MorseSegmentLib.worker.launch import WorkerCommand, workerCommand
from MorseSegmentLib.worker.qprocess import QProcessRunner
from MorseSegmentLib.worker.runner import Runner, Task
from MorseSegmentLib.worker.subprocess import SubprocessRunner

FAKE = str(Path(__file__).with_name("fake_worker.py"))
IDENTITY = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))


@pytest.fixture(params=[QProcessRunner, SubprocessRunner])
def a_runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    runner = request.param(WorkerCommand(sys.executable, ("-u", FAKE)), str(tmp_path))
    yield runner
    runner.stop()


def wait(runner: Any, until: Callable[[], bool]) -> None:
    if isinstance(runner, SubprocessRunner):
        runner.wait(until=until)
    else:
        waitFor(until, seconds=20)


def ask(runner: Runner, model: str) -> tuple[Task, Recorder]:
    task = runner.open()
    recorder = Recorder(task)
    runner.send(
        Segment(task.number, image="", ijk_to_ras=IDENTITY, model=model, output=str(task.folder))
    )
    return task, recorder


def worker_of(runner: Runner, recorder: Recorder) -> int:
    """Number of the process that answers, once it does."""
    wait(runner, lambda: bool(recorder.progress))
    return int(recorder.logs[0])


def test_progress_log_and_result_arrive_and_the_folder_goes(a_runner: Runner) -> None:
    task, recorder = ask(a_runner, "any")
    wait(a_runner, recorder.isAnswered)
    assert recorder.progress == [("netwörk", 12.5, None)]
    assert len(recorder.logs) == 1
    (message, files) = recorder.results[0]
    assert message["arrays"] == {"refined": "array.npy"}
    assert files == ["array.npy"]
    assert not task.folder.exists()
    assert not recorder.failures


def test_one_worker_answers_one_request_after_the_other(a_runner: Runner) -> None:
    recorders = []
    for _ in range(2):
        task, recorder = ask(a_runner, "any")
        wait(a_runner, recorder.isAnswered)
        recorders.append((task.number, recorder.logs[0]))
    assert recorders[0][0] < recorders[1][0]
    assert recorders[0][1] == recorders[1][1]


def test_a_line_that_is_no_event_is_passed_over(a_runner: Runner) -> None:
    _, recorder = ask(a_runner, "noisy")
    wait(a_runner, recorder.isAnswered)
    assert len(recorder.results) == 1


def test_the_worker_s_error_arrives_with_its_details(a_runner: Runner) -> None:
    task, recorder = ask(a_runner, "refuses")
    wait(a_runner, recorder.isAnswered)
    assert [(f.message, f.detail, f.kind) for f in recorder.failures] == [
        ("Too dark.", "trace", "ImageError")
    ]
    assert not task.folder.exists()


def test_a_cancelled_request_ends_with_one_answer(a_runner: Runner) -> None:
    task, recorder = ask(a_runner, "slow")
    pid = worker_of(a_runner, recorder)
    a_runner.cancel(task)
    a_runner.cancel(task)
    wait(a_runner, recorder.isAnswered)
    assert [f.kind for f in recorder.failures] == ["Cancelled"]
    assert not task.folder.exists()
    assert isAlive(pid), "a worker that listens is kept"


def test_a_worker_that_does_not_listen_is_killed(a_runner: Runner) -> None:
    task, recorder = ask(a_runner, "deaf")
    pid = worker_of(a_runner, recorder)
    a_runner.cancel(task)
    wait(a_runner, recorder.isAnswered)
    assert [f.kind for f in recorder.failures] == ["Cancelled"]
    assert not isAlive(pid)
    assert not task.folder.exists()


def test_a_request_cancelled_before_it_is_sent_never_is(a_runner: Runner) -> None:
    task = a_runner.open()
    recorder = Recorder(task)
    a_runner.cancel(task)
    a_runner.send(
        Segment(task.number, image="", ijk_to_ras=IDENTITY, model="any", output=str(task.folder))
    )
    assert [f.kind for f in recorder.failures] == ["Cancelled"]
    assert not a_runner.isRunning()
    assert not task.folder.exists()


@pytest.mark.parametrize(
    ("model", "says", "advises"),
    [
        ("dies", "unexpectedly (exit code 3)", "press Segment"),
        ("out of memory", "ended from outside (signal 9)", "press Segment"),
        ("crashes", "crashed (signal 11", "with the CPU as the device"),
    ],
)
def test_a_worker_that_dies_is_reported_once_with_what_to_do(
    a_runner: Runner, model: str, says: str, advises: str
) -> None:
    task, recorder = ask(a_runner, model)
    wait(a_runner, recorder.isAnswered)
    (failure,) = recorder.failures
    assert says in failure.message
    assert advises in failure.message
    assert "Traceback" not in failure.message
    assert not task.folder.exists()
    assert not a_runner.isRunning()


def test_the_details_hold_the_worker_s_last_words(a_runner: Runner) -> None:
    _, recorder = ask(a_runner, "dies")
    wait(a_runner, recorder.isAnswered)
    assert "last words" in recorder.failures[0].detail


def test_of_a_worker_that_was_killed_all_is_said_that_was_measured(
    a_runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most memory that it told of, and how many programs the system ended meanwhile."""
    counts = iter([7, 9])
    monkeypatch.setattr("MorseCore.system.processes.oom_kills", lambda: next(counts, 9))
    _, recorder = ask(a_runner, "out of memory")
    wait(a_runner, recorder.isAnswered)
    message = recorder.failures[0].message
    assert "meanwhile the system ended 2 programs because memory ran short" in message
    assert "(it had held up to 3.0 GiB)" in message
    assert recorder.failures[0].kind == "WorkerKilled"


def test_what_the_worker_could_not_read_at_all_is_in_the_details(a_runner: Runner) -> None:
    _, recorder = ask(a_runner, "confused")
    wait(a_runner, recorder.isAnswered)
    assert "The line is no JSON." in recorder.failures[0].detail


def test_after_a_death_the_next_request_starts_another_worker(a_runner: Runner) -> None:
    _, first = ask(a_runner, "dies")
    wait(a_runner, first.isAnswered)
    _, second = ask(a_runner, "any")
    wait(a_runner, second.isAnswered)
    assert len(second.results) == 1
    assert first.logs != second.logs


def test_stopping_leaves_no_process_and_no_folder(a_runner: Runner) -> None:
    task, recorder = ask(a_runner, "slow")
    pid = worker_of(a_runner, recorder)
    a_runner.stop()
    assert not isAlive(pid)
    assert not task.folder.exists()
    assert [f.kind for f in recorder.failures] == ["Cancelled"]


def test_a_result_that_cannot_be_used_becomes_an_error(a_runner: Runner) -> None:
    def clumsy(_message: Any, _folder: Path) -> None:
        raise OSError("the disk is full")

    task = a_runner.open()
    task.signals.connect("result", clumsy)
    recorder = Recorder(task)
    a_runner.send(
        Segment(task.number, image="", ijk_to_ras=IDENTITY, model="any", output=str(task.folder))
    )
    wait(a_runner, recorder.isAnswered)
    assert "the disk is full" in recorder.failures[0].message
    assert "OSError" in recorder.failures[0].detail
    assert not task.folder.exists()


@pytest.mark.parametrize("kind", [QProcessRunner, SubprocessRunner])
def test_a_missing_program_and_a_missing_package_are_named(kind: Any, tmp_path: Path) -> None:
    for command, word in (
        (WorkerCommand("/no/such/python", ()), "/no/such/python"),
        (WorkerCommand(sys.executable, ("-u", FAKE, "no-torch")), "'torch'"),
    ):
        runner = kind(command, str(tmp_path))
        _, recorder = ask(runner, "any")
        wait(runner, recorder.isAnswered)
        (failure,) = recorder.failures
        assert word in failure.message
        runner.stop()


def test_another_python_does_not_inherit_slicer_s_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # with it, no Python starts
    own = workerCommand()
    other = workerCommand("/another/python")
    assert "PYTHONHOME" not in own.without_variables
    assert "PYTHONHOME" in other.without_variables
    assert Path(own.arguments[-1]).is_absolute()
    for kind in (QProcessRunner, SubprocessRunner):
        command = WorkerCommand(sys.executable, ("-u", FAKE), other.without_variables)
        runner: Any = kind(command, str(tmp_path))
        _, recorder = ask(runner, "any")
        wait(runner, recorder.isAnswered)
        assert len(recorder.results) == 1
        runner.stop()
