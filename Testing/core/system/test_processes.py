"""What this process knows of its parent and of its memory; Windows' calls are acted out."""

import ctypes
import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from MorseCore.system import processes
from MorseCore.system.processes import end_with_parent, oom_kills, peak_memory


def test_the_peak_grows_with_what_is_held_and_does_not_shrink() -> None:
    code = (
        "from MorseCore.system.processes import peak_memory as peak; before = peak(); "
        "held = b'x' * 50_000_000; more = peak(); del held; "
        "print(more - before > 45_000_000, more - peak() < 2_000_000)"  # Linux counts in lots
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: Linux counts them")
def test_linux_counts_the_programs_that_it_ended_for_memory() -> None:
    assert oom_kills() is not None


def test_where_the_system_counts_nothing_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert oom_kills() is None
    (tmp_path / "vmstat").write_text("pgfault 7\noom_kill many\n")
    assert oom_kills() is None
    (tmp_path / "vmstat").write_text("pgfault 7\noom_kill 3\n")
    assert oom_kills() == 3


class Kernel:
    """Of Windows: a parent that ends when it is told to."""

    def __init__(self, *, handle: int | None = 1 << 40) -> None:
        self.ended = threading.Event()
        self.asked: list[tuple[Any, ...]] = []
        self.OpenProcess = self._call(lambda *_: handle)
        self.WaitForSingleObject = self._call(lambda *_: self.ended.wait(20))
        self.GetCurrentProcess = self._call(lambda: 7)
        self.K32GetProcessMemoryInfo = self._call(self._tell)

    def _call(self, answer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked.append(arguments)
            return answer(*arguments)

        return call

    def _tell(self, process: Any, reference: Any, size: int) -> int:
        assert process.value == 7
        assert size == ctypes.sizeof(processes._WindowsCounters)
        reference._obj.peak = 5 << 30
        return 1


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(processes.sys, "platform", "win32")
    return kernel


def test_on_windows_the_parent_is_waited_for_by_its_handle(
    windows: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: left.set())
    end_with_parent()
    assert not left.wait(0.2)
    assert windows.asked[0] == (0x00100000, False, os.getppid())
    windows.ended.set()
    assert left.wait(10)
    handle, how_long = windows.asked[1]
    assert (handle.value, how_long) == (1 << 40, 0xFFFFFFFF)  # handles have 64 bits


def test_on_windows_a_parent_that_cannot_be_opened_is_no_reason_to_end(
    windows: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows.OpenProcess = windows._call(lambda *_: None)
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("it ended"))
    end_with_parent()
    assert len(windows.asked) == 1


def test_windows_tells_the_peak(windows: Kernel) -> None:
    assert peak_memory() == 5 << 30
