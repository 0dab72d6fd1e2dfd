"""Ctrl-C and SIGTERM against steps that must not be torn apart."""

import signal
import threading
from pathlib import Path

import pytest

from MorseCore import files
from MorseCore.signals import terminating, uninterrupted

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_until_the_step_is_through(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)  # an impatient user
            done.append("the step")
        done.append("what follows it")

    with pytest.raises(KeyboardInterrupt), terminating():
        work()
    assert done == ["the step"]


def test_a_step_within_a_step_hands_the_signal_on() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            done.append("the outer step")
        done.append("what follows it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the outer step"]


def test_an_error_of_the_step_is_not_hidden_and_the_signal_not_lost() -> None:
    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise OSError("disk full")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, OSError)


@pytest.mark.parametrize("number", NUMBERS)
def test_afterwards_the_signals_are_heard_as_before(number: signal.Signals) -> None:
    heard = []
    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        mine = signal.getsignal(number)
        with uninterrupted():
            signal.raise_signal(number)
            assert not heard
        assert heard == [number]
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


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
    with pytest.raises(KeyboardInterrupt):
        files.prepare_output_directory(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
