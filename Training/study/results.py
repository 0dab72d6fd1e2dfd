"""What the trainings of a table scored: one value a subject, compared with the baseline."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from MorseCore.learning.dataset import open_dataset
from MorseCore.learning.training_config import RunConfig
from MorseCore.scoring.casetable import CaseScore, read_cases
from MorseCore.scoring.cost import Cost, measure_cost
from MorseCore.scoring.evaluation import bootstrap_difference
from Training.study.running import Run
from Training.study.subjects import subjects_of

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
    """Structures not found, over all cases and seeds."""
    minutes: float
    """Of training, mean over the runs; NaN if a run was not timed in one go."""

    def mean(self, measure: str) -> float:
        """Over subjects."""
        return float(np.mean(list(self.values[measure].values())))

    def sd(self, measure: str) -> float | None:
        """Over seeds; None for a single one."""
        means = self.by_seed[measure]
        return float(np.std(means, ddof=1)) if len(means) > 1 else None


def collect(runs: Sequence[Run], measures: Sequence[str], *, stage: str = "refined") -> RowResult:
    """Read the scores of one row's finished runs.

    The test split counts, or, where there is none (cross-validation), the validation split.
    """
    by_seed: dict[int, Values] = {}
    missed, minutes = 0, []
    for run in runs:
        subjects = subjects_of(Path(run.config.data.dataset))
        values = by_seed.setdefault(run.seed, {measure: {} for measure in measures})
        cases: dict[str, dict[str, list[float]]] = {measure: {} for measure in measures}
        for case, stages in _scores(run).items():
            score = stages[stage]
            missed += sum(s.status == "missed" for s in score.structures.values())
            for measure in measures:
                subject = cases[measure].setdefault(subjects.get(case, case), [])
                subject.append(_value(score, measure))
        for measure in measures:
            values[measure] |= {s: float(np.mean(v)) for s, v in cases[measure].items()}
        minutes.append(_minutes(run))
    seeds = list(by_seed.values())
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
    """Parameters, and operations of rendering one window as at inference."""
    network = config.network.build(num_classes=num_classes)
    renderer = config.renderer.build()
    return measure_cost(
        network, lambda image: renderer.render(network(image)), size=config.preparation.window_size
    )


def num_classes_of(config: RunConfig) -> int:
    """C of the data set."""
    data = config.data
    return open_dataset(Path(data.dataset), Path(data.split), fold=data.fold).num_classes


def _scores(run: Run) -> Mapping[str, Mapping[str, CaseScore]]:
    for split in SPLITS:
        path = run.folder / f"scores-{split}.csv"
        if path.is_file():
            return read_cases(path)
    raise FileNotFoundError(f"'{run.folder}' holds no scores: its data set has nothing to test on.")


def _value(score: CaseScore, measure: str) -> float:
    values = [getattr(s, "jaccard" if measure == "miou" else measure)
              for s in score.structures.values()]  # fmt: skip
    return float(np.mean([score.background_jaccard, *values] if measure == "miou" else values))


def _minutes(run: Run) -> float:
    try:
        return float(json.loads((run.folder / "minutes.json").read_text())["minutes"])
    except (OSError, KeyError, ValueError):
        return float("nan")
