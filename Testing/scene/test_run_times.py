"""How long runs took, and what that says of the next one."""

from typing import Any

import pytest

from MorseCore.images.workload import Workload
from MorseSegmentLib.worker.runtimes import RunTime, RunTimes, readTimes, rememberRun

RUN = RunTime(windows=8, points=8000, voxels=1000, network=4.0, around=1.0)


class Settings:
    """As slicer.app.userSettings()."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def value(self, key: str, default: Any) -> Any:
        return self.kept.get(key, default)

    def setValue(self, key: str, value: Any) -> None:
        self.kept[key] = value


def report(windows: int, points: int, network: float) -> dict[str, Any]:
    return {
        "windows": windows, "points": {"evaluated": points},
        "input": {"segmented_shape_kji": [10, 10, 10]},
        "seconds": {"prepare": 0.25, "network": network, "restore": 0.75},
    }  # fmt: skip


def test_before_the_first_run_nothing_is_known() -> None:
    assert RunTimes().seconds(Workload(8, 8000, 1000)) is None


def test_the_same_quality_takes_time_in_proportion() -> None:
    times = RunTimes().after(RUN)
    assert times.seconds(Workload(8, 8000, 1000)) == pytest.approx(5.0)
    assert times.seconds(Workload(16, 16000, 3000)) == pytest.approx(8.0 + 3.0)


def test_from_one_run_nothing_is_known_of_another_quality() -> None:
    assert RunTimes().after(RUN).seconds(Workload(8, 16000, 1000)) is None


def test_two_qualities_tell_what_a_window_and_what_a_point_takes() -> None:
    # 0.25 s a window and 0.25 ms a point
    times = RunTimes().after(RUN).after(RunTime(4, 0, 1000, network=1.0, around=1.0))
    assert times.seconds(Workload(8, 16000, 1000)) == pytest.approx(1 + 2.0 + 4.0)
    assert times.seconds(Workload(8, 4000, 1000)) == pytest.approx(1 + 2.0 + 1.0)


def test_runs_that_contradict_each_other_tell_nothing() -> None:
    times = RunTimes().after(RUN).after(RunTime(8, 16000, 1000, network=3.0, around=1.0))
    assert times.seconds(Workload(8, 32000, 1000)) is None
    assert times.seconds(Workload(8, 8000, 1000)) == pytest.approx(5.0)


def test_the_last_run_of_a_quality_counts() -> None:
    times = RunTimes().after(RUN).after(RunTime(8, 8000, 1000, network=6.0, around=1.0))
    assert times.seconds(Workload(8, 8000, 1000)) == pytest.approx(7.0)
    assert len(times.runs) == 1


def test_runs_are_remembered_by_model_and_device() -> None:
    settings = Settings()
    rememberRun(settings, "liver", "cpu", report(8, 8000, 4.0))
    assert readTimes(settings, "liver", "cpu") == RunTimes((RUN,))
    assert readTimes(settings, "liver", "cuda:0") == RunTimes()
    assert readTimes(settings, "spleen", "cpu") == RunTimes()


def test_a_run_counts_by_the_points_that_were_asked_for() -> None:
    """How many of them were uncertain differs from image to image; a plan can only ask."""
    settings = Settings()
    for evaluated in (2000, 3000):
        said = report(8, evaluated, 4.0)
        said["points"]["asked"] = 8000
        rememberRun(settings, "liver", "cpu", said)
    assert readTimes(settings, "liver", "cpu") == RunTimes((RUN,))


def test_a_report_that_does_not_say_is_not_remembered() -> None:
    settings = Settings()
    rememberRun(settings, "liver", "cpu", {"windows": 8})
    assert not settings.kept


def test_what_another_version_wrote_is_not_understood_and_no_error() -> None:
    settings = Settings()
    rememberRun(settings, "liver", "cpu", report(8, 8000, 4.0))
    (key,) = settings.kept
    for text in ('[{"windows": 3}]', '{"a": 1}', "[1]", "no JSON", None):
        settings.kept[key] = text
        assert readTimes(settings, "liver", "cpu") == RunTimes()
