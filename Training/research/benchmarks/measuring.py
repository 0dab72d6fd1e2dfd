"""Times of alternatives measured in turn, peak memory of a process, figures with their targets."""

import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from MorseCore.errors import MorseError
from MorseCore.system.devices import describe_device

__all__ = [
    "Clock", "Figure", "Sample", "children_seconds", "interleaved", "last_words", "machine",
    "paired_ratio", "peak_bytes", "run_child", "take_turns",
]  # fmt: skip

Clock = Literal["wall", "cpu"]
"""``wall``: what a person waits. ``cpu``: seconds of all threads, on a machine that is shared."""


@dataclass(frozen=True)
class Sample:
    """Repetitions of one measurement."""

    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        return float(median(self.values))

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile."""
        low, high = np.percentile(self.values, [25, 75])
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.spread
        return f"{self.median:.3g} [{low:.3g}, {high:.3g}] {self.unit}".rstrip()


@dataclass(frozen=True)
class Figure:
    """A figure with its target."""

    name: str
    value: float
    target: float
    unit: str = ""
    at_least: bool = False
    """Whether the target is a lower bound."""
    spread: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool:
        """A figure that is no number meets nothing."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" [{self.spread[0]:.3g}, {self.spread[1]:.3g}]"
        return f"{self.name} {self.value:.3g}{self.unit}{spread}"

    @property
    def target_text(self) -> str:
        """``≤ 1.25``."""
        return f"{'≥' if self.at_least else '≤'} {self.target:g}{self.unit}"


def interleaved(
    actions: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    clock: Clock = "wall",
    device: torch.device | None = None,
    title: str = "",
) -> dict[str, Sample]:
    """Time each action in turn; see :func:`take_turns`.

    :param device: waited for before and after each action, if it is a GPU.
    """
    timers = {
        name: lambda _, action=action: _timed(action, clock, device)
        for name, action in actions.items()
    }
    return take_turns(timers, repeats=repeats, title=title)


def take_turns(
    timers: Mapping[str, Callable[[int], float]], *, repeats: int, title: str = ""
) -> dict[str, Sample]:
    """Seconds of each alternative, A B A B …, after one turn that does not count.

    What changes on the machine meanwhile (clock rate, other programs) then meets all of them, and
    :func:`paired_ratio` compares neighbours.

    :param timers: each takes the number of the turn and returns seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in timers}
    with tqdm(total=(repeats + 1) * len(timers), desc=title, leave=False) as bar:
        for turn in range(repeats + 1):
            for name, timer in timers.items():
                bar.set_postfix_str(name)
                seconds = timer(turn)
                if turn:
                    taken[name].append(seconds)
                bar.update()
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def paired_ratio(above: Sample, below: Sample) -> Sample:
    """Repetition by repetition: what stood beside each other is compared."""
    pairs = zip(above.values, below.values, strict=True)
    return Sample(tuple(a / b for a, b in pairs), "")


def _timed(action: Callable[[], object], clock: Clock, device: torch.device | None) -> float:
    gc.collect()
    _wait_for(device)
    now = time.perf_counter if clock == "wall" else time.process_time
    started = now()
    action()
    _wait_for(device)
    return now() - started


def _wait_for(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes() -> int:
    """The most memory that this process has held so far.

    ``ru_maxrss`` of a process that was forked begins with its parent's peak, which exec keeps;
    Linux's VmHWM begins anew at exec.

    :raises MorseError: on Windows, which tells neither.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        raise MorseError("Peak memory is measured on Linux and macOS only.") from None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def children_seconds() -> float:
    """Processor seconds of all processes that this one has waited for.

    :raises MorseError: on Windows.
    """
    times = os.times()
    if sys.platform == "win32":
        raise MorseError("Processor time of other programs is measured on Linux and macOS only.")
    return times.children_user + times.children_system


def run_child(script: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``script --child TASK`` as a process of its own; the JSON of its last line.

    :raises MorseError: if it fails, with its last words.
    """
    process = subprocess.run(
        [sys.executable, script, "--child", json.dumps(task)],
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    lines = process.stdout.strip().splitlines()
    if process.returncode or not lines:
        raise MorseError(f"{Path(script).name} {dict(task)}: {last_words(process)}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def last_words(process: subprocess.CompletedProcess[str]) -> str:
    """The last line that a process wrote to stderr."""
    lines = process.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with code {process.returncode} and said nothing"


def machine(devices: Sequence[torch.device] = ()) -> str:
    """CPU, cores, threads, GPU and torch of this machine, as one line."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    parts = [
        _cpu_model(), f"{cores} cores", f"{torch.get_num_threads()} threads",
        f"torch {torch.__version__}",
    ]  # fmt: skip
    parts += [describe_device(device) for device in devices if device.type != "cpu"]
    return ", ".join(parts)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
