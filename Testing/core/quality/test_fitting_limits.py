"""Limits lie between good and spoilt runs, and what tells nothing does no harm."""

from dataclasses import replace

import numpy as np
import pytest

from MorseCore.quality.fitting import JudgedRun, fit_thresholds, severity_of

VOLUMES = {"Ball": [float(x) for x in np.linspace(8, 12, 40)]}


def run(rng: np.random.Generator, subject: int, kind: str = "", **changed: float) -> JudgedRun:
    """One that agrees, unless it was spoilt."""
    values = {
        ("agreement", "Ball"): rng.normal(0.95, 0.01),
        ("attention", ""): rng.normal(0.3, 0.1),
        ("volume", "Ball"): rng.uniform(8.5, 11.5),
        ("holes", "Ball"): float(rng.random() < 0.3) * rng.random(),  # says nothing
    }
    for name, value in changed.items():
        key = next(key for key in values if key[0] == name)
        values[key] = value
    quality = 0.9 if not kind else 0.3
    return JudgedRun(str(subject), kind, 0, values, quality=quality)


@pytest.fixture(scope="module")
def runs() -> list[JudgedRun]:
    rng = np.random.default_rng(3)
    found = [run(rng, n // 2) for n in range(40)]
    found += [run(rng, n, "noise", agreement=rng.uniform(0.2, 0.8)) for n in range(20)]
    found += [run(rng, n, "wrong spacing", volume=25.0) for n in range(20)]
    found += [run(rng, n, "motion", agreement=rng.uniform(0.2, 0.8)) for n in range(20)]
    return found


def test_few_good_runs_and_nearly_all_spoilt_ones_lie_beyond(runs: list[JudgedRun]) -> None:
    limits = fit_thresholds(runs, VOLUMES).thresholds
    beyond = {
        kind: np.mean([severity_of(r, limits) > 1 for r in runs if r.kind == kind])
        for kind in ("", "noise", "wrong spacing", "motion")
    }
    assert beyond[""] <= 0.05
    assert beyond["noise"] >= 0.95
    assert beyond["wrong spacing"] == 1
    assert beyond["motion"] >= 0.95  # which no limit was fitted to


def test_a_kind_that_is_set_apart_has_no_say(runs: list[JudgedRun]) -> None:
    without = [r for r in runs if r.kind != "motion"]
    assert fit_thresholds(runs, VOLUMES) == fit_thresholds(without, VOLUMES)


def test_volumes_come_from_the_trainings_label_maps(runs: list[JudgedRun]) -> None:
    small = fit_thresholds(runs, VOLUMES).thresholds
    large = fit_thresholds(runs, {"Ball": [30 * v for v in VOLUMES["Ball"]]}).thresholds
    typical = [next(t.typical for t in x if t.signal == "volume") for x in (small, large)]
    assert typical == pytest.approx([10, 300], rel=0.02)


def test_beyond_implausible_results_are_wrong(runs: list[JudgedRun]) -> None:
    # Half of what is spoilt a little is as good as ever.
    mild = [
        replace(r, quality=0.9) if r.kind == "noise" and r.values["agreement", "Ball"] > 0.7 else r
        for r in runs
    ]
    limits = fit_thresholds(mild, VOLUMES).thresholds
    far = [r for r in mild if severity_of(r, limits) >= 2 and r.kind != "motion"]
    assert far
    assert np.mean([r.quality < 0.7 for r in far]) >= 0.9


def test_a_refused_image_is_noticed_without_a_limit() -> None:
    assert severity_of(JudgedRun("1", "air", rules=99.0), ()) > 2
