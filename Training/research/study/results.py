"""What the trainings of a table scored: one value a subject, compared with the baseline."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from MorseCore.errors import DatasetError
from MorseCore.metrics.casetable import CaseScore, read_cases
from MorseCore.metrics.cost import Cost, measure_cost
from MorseCore.metrics.evaluation import bootstrap_difference
from MorseCore.metrics.subjects import subjects_of
from MorseCore.network import NetworkConfig
from MorseCore.renderers import DenseConfig
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import open_dataset
from Training.research.study.running import Run
from Training.research.study.subjects import values_by_subject

__all__ = ["Difference", "RowResult", "collect", "compare", "cost_of"]

SPLITS = ("test", "validation")
Values = dict[str, dict[str, float]]
"""Measure -> subject -> value."""


@dataclass(frozen=True)
class Difference:
    """Row minus baseline, paired by subject."""

    mean: float
    low: float
    """95 % interval: paired bootstrap over subjects."""
    high: float
    p: float
    """Wilcoxon's signed-rank test, two-sided, not corrected for the number of rows; 1 if all
    differences are 0."""


@dataclass(frozen=True)
class RowResult:
    """One row's scores."""

    values: Values
    """Per subject, averaged over structures, the subject's cases, folds and seeds."""
    by_seed: dict[str, list[float]]
    """Measure -> mean of each seed."""
    missed: int
    """Structures not found, over all cases and runs."""
    minutes: float
    """Of training, all sessions of a run, mean over the runs; NaN if a session was not timed."""

    def mean(self, measure: str) -> float:
        """Over subjects."""
        return float(np.mean(list(self.values[measure].values())))

    def sd(self, measure: str) -> float | None:
        """Over seeds; None for a single one."""
        means = self.by_seed[measure]
        return float(np.std(means, ddof=1)) if len(means) > 1 else None


def collect(
    runs: Sequence[Run],
    measures: Sequence[str],
    *,
    stage: str = "refined",
    splits: Sequence[str] = SPLITS,
) -> RowResult:
    """Read the scores of one row's finished runs.

    The test split counts, or, where there is none (cross-validation), the validation split. All
    folds may share one test split: a subject's value is the mean over the folds that scored it.

    :param splits: the first of which there are scores counts.
    :raises DatasetError: if a run has no scores.
    """
    by_seed: dict[int, dict[str, dict[str, list[float]]]] = {}
    missed, minutes = 0, []
    for run in runs:
        subjects = subjects_of(Path(run.config.data.dataset))
        folds = by_seed.setdefault(run.seed, {measure: {} for measure in measures})
        cases = _scores(run, splits)
        missed += sum(
            s.status == "missed" for c in cases.values() for s in c[stage].structures.values()
        )
        for measure in measures:
            found = values_by_subject(cases, subjects, stage=stage, measure=measure)
            for subject, value in found.items():
                folds[measure].setdefault(subject, []).append(value)
        minutes.append(_minutes(run))
    seeds: list[Values] = [
        {m: {s: float(np.mean(v)) for s, v in folds[m].items()} for m in measures}
        for folds in by_seed.values()
    ]
    pooled = {
        m: {s: float(np.mean([seed[m][s] for seed in seeds])) for s in seeds[0][m]}
        for m in measures
    }
    means = {m: [float(np.mean(list(seed[m].values()))) for seed in seeds] for m in measures}
    return RowResult(pooled, means, missed, float(np.mean(minutes)))


def compare(row: RowResult, baseline: RowResult, measure: str) -> Difference:
    """Paired by subject."""
    subjects = sorted(baseline.values[measure])
    before = [baseline.values[measure][s] for s in subjects]
    after = [row.values[measure][s] for s in subjects]
    found = bootstrap_difference(before, after)
    differs = any(a != b for a, b in zip(after, before, strict=True))
    p = float(stats.wilcoxon(after, before).pvalue) if differs and len(subjects) > 1 else 1.0
    return Difference(found["difference"], found["low"], found["high"], p)


def cost_of(config: RunConfig, *, num_classes: int) -> Cost:
    """Parameters, and operations of rendering one window as at inference.

    A renderer whose number of points depends on the mask, on weights that at random are nobody's,
    is measured as ``dense``; all on weights of one seed: a row's cost is one number, whoever
    measures it.
    """
    return _cost(config.network, config.renderer, config.preparation.window_size, num_classes)


@cache  # a table is written after each of its rows
def _cost(network: NetworkConfig, renderer: Any, size: tuple[int, ...], num_classes: int) -> Cost:
    is_stated = renderer.most_points(1) is not None
    if getattr(renderer, "certain_margin", 0):  # all points, which is the most that it may cost
        renderer = replace(renderer, certain_margin=0.0)
    painter = (renderer if is_stated else DenseConfig()).build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = network.build(num_classes=num_classes)
    cost = measure_cost(net, lambda image: painter.render(net(image)), size=size)
    return replace(cost, is_dense=not is_stated)


def num_classes_of(config: RunConfig) -> int:
    """C of the data set."""
    data = config.data
    return open_dataset(Path(data.dataset), Path(data.split), fold=data.fold).num_classes


def _scores(run: Run, splits: Sequence[str]) -> Mapping[str, Mapping[str, CaseScore]]:
    for split in splits:
        path = run.folder / f"scores-{split}.csv"
        if path.is_file():
            return read_cases(path)
    raise DatasetError(
        f"'{run.folder}' holds no scores: its data set has no split {' or '.join(splits)}."
    )


def _minutes(run: Run) -> float:
    try:
        return float(json.loads((run.folder / "minutes.json").read_text())["minutes"])
    except (OSError, KeyError, TypeError, ValueError):  # null: a session was not timed
        return float("nan")
