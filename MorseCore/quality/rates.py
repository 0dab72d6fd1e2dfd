"""How often a verdict is right: each subject is judged by limits that the others gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from MorseCore.metrics.evaluation import bootstrap_difference
from MorseCore.quality.fitting import (
    WRONG,
    JudgedRun,
    fit_thresholds,
    severity_of,
)
from MorseCore.quality.spoiling import APART
from MorseCore.quality.thresholds import Threshold

__all__ = ["area_under_risk", "figures_of", "format_figures"]

_FOLDS = 5
_RESAMPLES = 1000


@dataclass(frozen=True)
class _Judged:
    """A run with the severities that limits of other subjects give it."""

    run: JudgedRun
    fast: float
    full: float


def figures_of(
    runs: Sequence[JudgedRun],
    volumes: Mapping[str, Sequence[float]],
    *,
    fixed: Sequence[Threshold] = (),
) -> dict[str, Any]:
    """What is noticed, by kind; what good runs are flagged; how well a severity ranks results.

    :param runs: as measured.
    :param volumes: ml of each structure in the training's label maps.
    :param fixed: limits that need no fit.
    """
    judged = _cross_judged(runs, volumes, fixed)
    good = [item for item in judged if not item.run.kind]
    spoilt = [item for item in judged if item.run.kind]
    least = WRONG * float(np.median([item.run.quality for item in good]))
    groups = {
        "spoilt": [item for item in spoilt if item.run.kind not in APART],
        "spoilt, set apart": [item for item in spoilt if item.run.kind in APART],
        "spoilt, and the result is wrong": [i for i in spoilt if i.run.quality < least],
        "spoilt, and the result is not wrong": [i for i in spoilt if i.run.quality >= least],
    }
    kinds = dict.fromkeys(item.run.kind for item in spoilt)
    groups |= {kind: [item for item in spoilt if item.run.kind == kind] for kind in kinds}
    return {
        "subjects": len({item.run.subject for item in good}),
        "spoilt_subjects": len({item.run.subject for item in spoilt}),
        "good_quality": round(float(np.median([item.run.quality for item in good])), 4),
        "good_flagged_fast": _rate(good, 1.0, "fast"),
        "good_flagged_full": _rate(good, 1.0, "full"),
        "good_implausible": _rate(good, 2.0, "fast"),
        "caught": {name: _rate(items, 1.0, "fast") for name, items in groups.items() if items},
        "implausible": {
            name: _rate(items, 2.0, "fast") for name, items in groups.items() if items
        },
        "quality": {
            name: round(float(np.mean([item.run.quality for item in items])), 4)
            for name, items in groups.items() if items
        },
        "aurc": _aurc(judged),
    }  # fmt: skip


def _cross_judged(
    runs: Sequence[JudgedRun], volumes: Mapping[str, Sequence[float]], fixed: Sequence[Threshold]
) -> list[_Judged]:
    subjects = sorted({run.subject for run in runs})
    result = []
    for fold in range(min(_FOLDS, len(subjects))):
        mine = set(subjects[fold::_FOLDS])
        others = [run for run in runs if run.subject not in mine]
        if not any(not run.kind for run in others):
            others = list(runs)  # one subject alone has no others
        limits = [*fixed, *fit_thresholds(others, volumes).thresholds]
        for run in (run for run in runs if run.subject in mine):
            fast, full = (severity_of(run, limits, mode=mode) for mode in ("fast", "full"))
            result.append(_Judged(run, fast, full))
    return result


def _rate(items: Sequence[_Judged], limit: float, mode: str) -> dict[str, Any]:
    """Share beyond a limit: of all runs, with a 95 % interval over subjects."""
    by_subject: dict[str, list[float]] = {}
    for item in items:
        by_subject.setdefault(item.run.subject, []).append(float(getattr(item, mode) > limit))
    means = [float(np.mean(values)) for values in by_subject.values()]
    found = bootstrap_difference([0.0] * len(means), means)
    share = float(np.mean([getattr(item, mode) > limit for item in items]))
    return {
        "share": round(share, 4), "low": round(found["low"], 4), "high": round(found["high"], 4),
        "runs": len(items),
    }  # fmt: skip


def area_under_risk(risks: Sequence[float], scores: Sequence[float]) -> float:
    """Mean risk of the results that are kept, over all shares that one may keep (AURC).

    :param risks: 0 (perfect) to 1. :param scores: the larger, the earlier a result is left out.
    """
    order = np.argsort(scores, kind="stable")
    ordered = np.asarray(risks, dtype=float)[order]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def _aurc(judged: Sequence[_Judged]) -> dict[str, Any]:
    """Of the severity, of mean entropy over the image and over the mask, and of chance."""
    items = [item for item in judged if item.run.values]  # a refused image has no result
    risks = [1 - item.run.quality for item in items]
    ranks = {
        "severity": [item.fast for item in items],
        "entropy": [item.run.entropy for item in items],
        "entropy_inside": [item.run.entropy_inside for item in items],
    }
    areas = {name: area_under_risk(risks, scores) for name, scores in ranks.items()}
    below = {}
    for name in ("entropy", "entropy_inside"):
        subjects = [item.run.subject for item in items]
        gains = _gains(subjects, risks, ranks["severity"], ranks[name])
        low, high = np.percentile(gains, [2.5, 97.5])
        below[name] = {
            "share": round(1 - areas["severity"] / areas[name], 4),
            "low": round(float(low), 4), "high": round(float(high), 4),
        }  # fmt: skip
    return {
        **{name: round(area, 4) for name, area in areas.items()},
        "random": round(float(np.mean(risks)), 4),
        "best_possible": round(area_under_risk(risks, risks), 4),
        "below": below,
    }


def _gains(
    subjects: Sequence[str], risks: Sequence[float], mine: Sequence[float], other: Sequence[float]
) -> np.ndarray:
    """By how much the area is smaller, in draws of subjects with replacement."""
    places: dict[str, list[int]] = {}
    for n, subject in enumerate(subjects):
        places.setdefault(subject, []).append(n)
    groups, draw = list(places.values()), np.random.default_rng(0)
    values = [np.asarray(x, dtype=float) for x in (risks, mine, other)]
    gains = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([groups[n] for n in draw.integers(0, len(groups), len(groups))])
        risk, a, b = (x[chosen] for x in values)
        gains.append(1 - area_under_risk(risk, a) / max(1e-9, area_under_risk(risk, b)))
    return np.array(gains)


def format_figures(figures: Mapping[str, Any]) -> str:
    """The table of a card, in Markdown."""
    lines = [
        "| images | runs | mean DSC | not `ok` (95 % interval) | `implausible` |",
        "|---|---|---|---|---|",
        _row("good", figures["good_flagged_fast"], figures["good_implausible"],
             figures["good_quality"]),
        *(
            _row(name, rate, figures["implausible"][name], figures["quality"][name])
            for name, rate in figures["caught"].items()
        ),
    ]  # fmt: skip
    area = figures["aurc"]
    full = figures["good_flagged_full"]
    lines += [
        "",
        f"{figures['subjects']} subjects, of whom {figures['spoilt_subjects']} were spoilt, too; "
        "each was judged by limits that other subjects gave. "
        f"No limit was fitted to {', '.join(APART)}. "
        f"With `--verdict full` {100 * full['share']:.0f} % of the good runs are not `ok`.",
        "",
        "Ranking results from the one to trust most to the one to trust least (area under the "
        f"risk-coverage curve, less is better): verdict {area['severity']:.3f}; mean entropy over "
        f"the image {area['entropy']:.3f}, the verdict's being "
        f"{_percent(area['below']['entropy'])} below; mean entropy over the mask "
        f"{area['entropy_inside']:.3f}, {_percent(area['below']['entropy_inside'])} below; "
        f"chance {area['random']:.3f}; best possible {area['best_possible']:.3f}.",
    ]
    return "\n".join(lines)


def _row(name: str, rate: Mapping[str, Any], implausible: Mapping[str, Any], quality: float) -> str:
    return (
        f"| {name} | {rate['runs']} | {quality:.2f} | {_percent(rate)} | "
        f"{100 * implausible['share']:.0f} % |"
    )


def _percent(rate: Mapping[str, float]) -> str:
    """``97 % [93, 100]``."""
    share, low, high = (f"{100 * rate[name]:.0f}" for name in ("share", "low", "high"))
    return f"{share} % [{low}, {high}]"
