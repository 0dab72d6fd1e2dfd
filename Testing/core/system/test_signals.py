"""Ctrl-C and SIGTERM against steps that must not be torn apart."""

import io
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from MorseCore.commands.terminal import terminal_progress
from MorseCore.system import files
from MorseCore.system.signals import terminating, uninterrupted
from training_runs import REPOSITORY

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def as_at_a_terminal() -> Iterator[None]:
    """These tests may be started in the background, where Ctrl-C is ignored."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted(work: Callable[[], None]) -> KeyboardInterrupt:
    """Do it as a command does, and expect that it is interrupted."""
    with pytest.raises(KeyboardInterrupt) as caught, terminating():
        work()
    return caught.value


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_until_the_step_is_through(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)  # an impatient user
            done.append("the step")
        done.append("what follows it")

    interrupted(work)
    assert done == ["the step"]
    with terminating(), uninterrupted():
        pass  # and it is not heard a second time


def test_a_step_within_a_step_hands_the_signal_on() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            done.append("the outer step")
        done.append("what follows it")

    interrupted(work)
    assert done == ["the outer step"]


def test_an_error_of_the_step_is_not_hidden_and_the_signal_not_lost() -> None:
    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise OSError("disk full")

    assert isinstance(interrupted(work).__context__, OSError)


@pytest.mark.parametrize("number", NUMBERS)
def test_between_steps_a_signal_is_heard_at_once(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            done.append("a step")
        signal.raise_signal(number)
        done.append("what follows it")

    interrupted(work)
    assert done == ["a step"]


def test_where_no_command_runs_signals_are_the_hosts() -> None:
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append("the host"))
    with uninterrupted():
        signal.raise_signal(signal.SIGTERM)
        assert heard == ["the host"]
    mine = signal.getsignal(signal.SIGTERM)
    with terminating():
        assert signal.getsignal(signal.SIGTERM) is not mine
    assert signal.getsignal(signal.SIGTERM) is mine


def test_what_the_parent_has_it_ignore_stays_ignored() -> None:
    # A job that a shell script starts with & ignores Ctrl-C, which is meant for the script.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append("the step")
        done.append("what follows it")

    with terminating():
        signal.raise_signal(signal.SIGINT)
    interrupted(work)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert done == ["the step"]


def test_another_thread_neither_holds_signals_nor_fails() -> None:
    handlers = []

    def work() -> None:
        with terminating(), uninterrupted():
            handlers.extend(signal.getsignal(number) for number in NUMBERS)

    expected = [signal.getsignal(number) for number in NUMBERS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == expected


def test_an_interruption_while_a_folder_is_tried_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.touch

    def touch(path: Path, exist_ok: bool = True) -> None:
        real(path, exist_ok=exist_ok)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Path, "touch", touch)
    interrupted(lambda: files.prepare_output_directory(tmp_path / "out") and None)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interruption_while_a_half_written_file_goes_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._remove

    def remove(path: Path) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(path)

    def work() -> None:
        with files.atomic_path(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise OSError("disk full")

    monkeypatch.setattr(files, "_remove", remove)
    interrupted(work)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["_hold", "_remove_lock"])
@pytest.mark.parametrize("number", NUMBERS)
def test_an_interruption_while_a_hidden_folder_comes_or_goes_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: signal.Signals
) -> None:
    real = getattr(files, place)

    def interrupt(*arguments: object) -> object:
        signal.raise_signal(number)
        return real(*arguments)

    def work() -> None:
        with files.temporary_folder(tmp_path):
            pass

    monkeypatch.setattr(files, place, interrupt)
    interrupted(work)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_just_before_a_hidden_folder_goes_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = files._clean, []

    def clean(*arguments: object) -> None:
        calls.append("clean")
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        real(*arguments)

    def work() -> None:
        with files.temporary_folder(tmp_path) as folder:
            (folder / "half").touch()

    monkeypatch.setattr(files, "_clean", clean)
    interrupted(work)
    assert (calls, list(tmp_path.iterdir())) == (["clean"] * 2, [])


def test_a_line_of_the_log_is_whole_before_the_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            count = super().write(text)
            if text.startswith("a: done"):
                signal.raise_signal(signal.SIGTERM)
            return count

    terminal, log = Terminal(), logging.getLogger("of this test")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(terminal)])
    log.setLevel(logging.INFO)

    def work() -> None:
        with terminal_progress():
            log.info("a: done")

    interrupted(work)
    assert terminal.getvalue().endswith("a: done\n")


def test_a_script_that_is_ended_leaves_no_half_written_file(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from MorseCore.system.files import atomic_path\n"
        "from Training.research.shared.commandline import exit_code\n"
        "def work():\n"
        "    with atomic_path(Path('a.csv')) as path:\n"
        "        path.write_text('half')\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "sys.exit(exit_code(work))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "error: Stopped; run it again to go on.\n")
    assert list(tmp_path.iterdir()) == []
