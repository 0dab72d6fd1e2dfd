"""How long a run will take, from how long runs took: nothing is said that was not measured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from MorseCore.images.workload import Workload

__all__ = ["RunTime", "RunTimes", "SettingsStore", "readTimes", "rememberRun"]

_SAME = 0.01  # relative difference of points a window that is none
_KEPT = 7  # runs, of as many levels of quality
_KEY = "MorseSegment/RunTimes"


class SettingsStore(Protocol):
    """Of slicer.app.userSettings(): what outlasts the session."""

    def value(self, key: str, default: Any) -> Any: ...

    def setValue(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True)
class RunTime:
    """One finished run."""

    windows: int
    points: int
    """That were asked for: how many of them are uncertain the next image does not say before."""
    voxels: int
    network: float
    """Seconds in which windows and points were computed."""
    around: float
    """Seconds for bringing the voxels to the model's grid and back."""

    @classmethod
    def ofReport(cls, report: Mapping[str, Any]) -> "RunTime | None":
        """From a result's report; None if it does not say."""
        try:
            seconds, points = report["seconds"], report["points"]
            asked = points.get("asked")
            return cls(
                windows=int(report["windows"]),
                points=int(points["evaluated"] if asked is None else asked),
                voxels=int(np.prod(report["input"]["segmented_shape_kji"])),
                network=float(seconds["network"]),
                around=float(seconds["prepare"]) + float(seconds["restore"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    @property
    def rate(self) -> float:
        """Points a window."""
        return self.points / self.windows


@dataclass(frozen=True)
class RunTimes:
    """The last runs of one model on one device, the newest first, each of another quality.

    Example::

        times = RunTimes().after(RunTime(windows=8, points=8000, voxels=10**6, network=4, around=1))
        times.seconds(Workload(windows=16, points=16000, voxels=2 * 10**6))   # 10.0
        times.seconds(Workload(windows=16, points=32000, voxels=2 * 10**6))   # None: unknown
    """

    runs: tuple[RunTime, ...] = ()

    def after(self, run: RunTime) -> "RunTimes":
        """With one more run; the last at the same quality is forgotten."""
        others = [r for r in self.runs if not _isSame(r.rate, run.rate)]
        return RunTimes((run, *others)[:_KEPT])

    def seconds(self, work: Workload) -> float | None:
        """How long a piece of work takes; None if no run tells.

        With the points a window of a run before: in proportion. With others: if two runs with
        different numbers of points tell what a window and what a point takes.
        """
        if not self.runs or not work.windows:
            return None
        last, rate = self.runs[0], work.points / work.windows
        around = last.around * work.voxels / max(1, last.voxels)
        for run in self.runs:
            if _isSame(run.rate, rate):
                return around + run.network * work.windows / run.windows
        if len(self.runs) < 2:
            return None
        perPoint, perWindow = np.polyfit(
            [run.rate for run in self.runs], [run.network / run.windows for run in self.runs], 1
        )
        # More points never take less time: then the runs were too alike to tell.
        if perPoint < 0 or perWindow < 0:
            return None
        return around + float(perWindow * work.windows + perPoint * work.points)


def readTimes(store: SettingsStore, model: str, device: str) -> RunTimes:
    """What is remembered of a model on a device; nothing if it is of another version."""
    try:
        runs = json.loads(store.value(_key(model, device), "[]"))
        return RunTimes(tuple(RunTime(**run) for run in runs if run["windows"] > 0))
    except (ValueError, TypeError, KeyError):
        return RunTimes()


def rememberRun(store: SettingsStore, model: str, device: str, report: Mapping[str, Any]) -> None:
    """Remember how long a run took, if its report says so."""
    run = RunTime.ofReport(report)
    if run is not None and run.windows > 0:
        times = readTimes(store, model, device).after(run)
        store.setValue(_key(model, device), json.dumps([asdict(r) for r in times.runs]))


def _key(model: str, device: str) -> str:
    return f"{_KEY}/{model}/{device}"


def _isSame(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME * max(a, b, 1.0)
