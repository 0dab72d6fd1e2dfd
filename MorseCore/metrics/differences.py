"""Two folders of predictions compared case by case: differences, their intervals and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.scores import MEASURES, StructureScore
from MorseCore.metrics.subjects import mean_by_subject
from MorseCore.system.files import atomic_path

__all__ = ["COMPARED", "bootstrap_difference", "by_subject", "draw_comparison", "paired_comparison"]

COMPARED = [measure.name for measure in MEASURES if measure.is_compared]
_RESAMPLES = 2000


def bootstrap_difference(
    before: Sequence[float], after: Sequence[float], *, seed: int = 0
) -> dict[str, float]:
    """Mean of ``after - before`` over cases with its 95 % interval: paired percentile bootstrap.

    :returns: ``difference``, ``low``, ``high``; the interval of one case is its difference.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    count = len(differences)
    draws = np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return {"difference": float(differences.mean()), "low": float(low), "high": float(high)}


def by_subject(
    cases: Mapping[str, Mapping[int, StructureScore]], metric: str, subjects: Mapping[str, str]
) -> dict[str, float]:
    """Means over structures, then over each subject's cases."""
    values = {
        name: float(np.mean([getattr(score, metric) for score in case.values()]))
        for name, case in cases.items()
    }
    return mean_by_subject(values, subjects)


def paired_comparison(
    ours: Mapping[str, CaseScore],
    theirs: Mapping[str, CaseScore],
    names: Mapping[int, str],
    subjects: Mapping[str, str],
) -> dict[str, Any]:
    """``ours - theirs`` per structure and for their mean, with 95 % intervals over subjects.

    :param ours: by case; ``theirs`` has the same cases.
    :return: name of the structure or ``mean`` -> measure -> ``difference``, ``low``, ``high``, and
        by subject ``differences``.
    """
    rows: dict[str, Any] = {}
    for label in (*names, None):
        chosen = [
            {
                case: {v: s for v, s in score.structures.items() if label in (None, v)}
                for case, score in scores.items()
            }
            for scores in (ours, theirs)
        ]
        rows["mean" if label is None else names[label]] = {
            metric: _difference(*(by_subject(part, metric, subjects) for part in chosen))
            for metric in COMPARED
        }
    return rows


def _difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = bootstrap_difference([theirs[n] for n in ours], [*ours.values()])
    return found | {"differences": {n: round(ours[n] - theirs[n], 6) for n in ours}}


def draw_comparison(path: Path, rows: Mapping[str, Any], *, titles: tuple[str, str]) -> None:
    """A dot a subject and structure, the mean and its interval beside them: DSC and HD95.

    :param rows: of :func:`paired_comparison`.
    :param titles: of both folders, the one that is compared first.
    :raises OutputError: if the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 + 0.5 * len(rows)), layout="constrained")
    parts = figure.subplots(1, 2, sharey=True)
    for axes, (metric, title) in zip(parts, (("dice", "DSC"), ("hd95", "HD95")), strict=True):
        for place, name in enumerate(rows):
            row = rows[name][metric]
            values = [*row["differences"].values()]
            axes.plot(values, [place + 0.2] * len(values), "o", ms=4, alpha=0.4, color="tab:blue")
            axes.plot([row["low"], row["high"]], [place - 0.1] * 2, color="black")
            axes.plot([row["difference"]], [place - 0.1], "D", ms=6, color="black")
        axes.axvline(0, color="grey", lw=1)
        axes.set(xlabel=f"{title}: {titles[0]} - {titles[1]}")
        axes.grid(axis="x", alpha=0.3)
    parts[0].set(yticks=range(len(rows)), yticklabels=list(rows))
    parts[0].invert_yaxis()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
