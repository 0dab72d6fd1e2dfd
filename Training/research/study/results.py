"""What the trainings of a table scored: one value a subject, compared with the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from MorseCore.errors import DatasetError
from MorseCore.metrics.casetable import read_cases
from MorseCore.metrics.cost import Cost, measure_cost
from MorseCore.metrics.subjects import subjects_of
from MorseCore.network import NetworkConfig
from MorseCore.renderers import DenseConfig
from MorseCore.training.config import RunConfig
from Training.research.shared.data import open_training_data
from Training.research.shared.scores import Cases, Interval, Values, all_by_subject, pair_subjects
from Training.research.study.running import Run, minutes_of

__all__ = ["Difference", "RowResult", "collect", "compare", "cost_of"]

SPLITS = ("test", "validation")


@dataclass(frozen=True)
class Difference(Interval):
    """Row minus baseline, paired by subject."""

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
    """Structures that were not found, over all cases and runs."""
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
    by_seed: dict[int, list[Values]] = {}
    missed, minutes = 0, []
    for run in runs:
        subjects = subjects_of(Path(run.config.data.dataset))
        cases = _scores(run, splits)
        missed += sum(
            s.status == "missed" for c in cases.values() for s in c[stage].structures.values()
        )
        found = all_by_subject(cases, subjects, stage=stage, measures=measures)
        by_seed.setdefault(run.seed, []).append(found)
        minutes.append(minutes_of(run.folder))
    seeds = [_mean_of(folds) for folds in by_seed.values()]
    means = {m: [float(np.mean(list(seed[m].values()))) for seed in seeds] for m in measures}
    return RowResult(_mean_of(seeds), means, missed, float(np.mean(minutes)))


def _mean_of(parts: Sequence[Values]) -> Values:
    """A subject's mean over the parts that hold it."""
    return {
        m: {
            s: float(np.mean([part[m][s] for part in parts if s in part[m]]))
            for s in dict.fromkeys(s for part in parts for s in part[m])
        }
        for m in parts[0]
    }


def compare(row: RowResult, baseline: RowResult, measure: str) -> Difference:
    """Paired by subject."""
    before, after = pair_subjects(baseline.values[measure], row.values[measure])
    found = Interval.between(before, after)
    p = float(stats.wilcoxon(after, before).pvalue) if before != after and len(after) > 1 else 1.0
    return Difference(found.mean, found.low, found.high, p)


def cost_of(config: RunConfig, *, num_classes: int) -> Cost:
    """Parameters, and operations of rendering one window as at inference.

    Weights are random, of one seed, so that a row's cost is one number. Some renderers choose their
    number of points by the mask, which means nothing at random weights: they count as ``dense``.
    """
    return _cost(config.network, config.renderer, config.preparation.window_size, num_classes)


@cache  # a table is written after each of its rows
def _cost(network: NetworkConfig, renderer: Any, size: tuple[int, ...], num_classes: int) -> Cost:
    is_stated = renderer.most_points(1) is not None
    if getattr(renderer, "certain_margin", 0):  # all points, which is the most that it may cost
        renderer = replace(renderer, certain_margin=0.0)
    built = (renderer if is_stated else DenseConfig()).build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = network.build(num_classes=num_classes)
    cost = measure_cost(net, lambda image: built.render(net(image)), size=size)
    return replace(cost, is_dense=not is_stated)


def num_classes_of(config: RunConfig) -> int:
    """C of the data set."""
    return open_training_data(config.data).num_classes


def _scores(run: Run, splits: Sequence[str]) -> Cases:
    for split in splits:
        path = run.folder / f"scores-{split}.csv"
        if path.is_file():
            return read_cases(path)
    raise DatasetError(
        f"'{run.folder}' holds no scores: its data set has no split {' or '.join(splits)}."
    )
