"""The scores of a table's trainings, by subject and against the baseline, and its files."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache
from math import isnan
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
from Training.research.shared.output import (
    markdown_table,
    new_figure,
    save_figure,
    write_tables,
)
from Training.research.shared.scores import Cases, Interval, Values, all_by_subject, pair_subjects
from Training.research.study.definition import Row, Table
from Training.research.study.running import Run, minutes_of

__all__ = [
    "Difference",
    "ResultLine",
    "RowResult",
    "collect",
    "compare",
    "cost_of",
    "num_classes_of",
    "write_lines",
]

SPLITS = ("test", "validation")
_TITLES = {
    "dice": ("DSC", 100, 2, "%"), "jaccard": ("Jaccard", 100, 2, "%"),
    "miou": ("mIoU", 100, 2, "%"), "hd95": ("HD95", 1, 2, "mm"),
    "asd": ("ASD", 1, 3, "mm"), "assd": ("ASSD", 1, 3, "mm"),
}  # fmt: skip
_DENSE = (
    "\\* How many points the row's renderer asks depends on the image; GMAC is that of the "
    "renderer `dense`, which asks every pixel."
)


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


@dataclass(frozen=True)
class ResultLine:
    """A row with its cost and result; ``result`` is None if it failed or has not run."""

    row: Row
    cost: Cost | None
    result: RowResult | None
    differences: Mapping[str, Difference]
    """Measure -> row minus baseline; empty for the baseline."""
    failure: str = ""


def write_lines(
    folder: Path, table: Table, lines: Sequence[ResultLine], *, notes: Sequence[str], end: str = ""
) -> str:
    """Write ``table.md``, ``table.csv`` and ``plot.png``; the text of the first.

    :param end: of the names, see :func:`write_tables`.
    """
    titles = [_title(m) for m in table.measures]
    head = ["row", *titles, f"Δ {titles[0]} [95 %]", "p", "missed", "M params", "GMAC", "min"]
    rows: list[list[str]] = []
    group = ""
    for line in lines:
        if line.row.group != group:
            group = line.row.group
            rows.append([f"**{group}**", *[""] * (len(head) - 1)])
        rows.append(_cells(line, table))
    is_dense = any(line.cost is not None and line.cost.is_dense for line in lines)
    remarks = [*notes, *([_DENSE] if is_dense else []), *([table.note] if table.note else [])]
    text = [f"# {table.title}", "", table.source, "", *markdown_table(head, rows)]
    for remark in remarks:
        text += ["", remark]
    _draw(folder / f"plot{end}.png", table, lines)
    return write_tables(folder, text, _numbers(table, lines), name=f"table{end}")


def _numbers(table: Table, lines: Sequence[ResultLine]) -> list[Sequence[object]]:
    """Every number, unrounded: a row and measure a line."""
    rows: list[Sequence[object]] = [(
        "group", "row", "measure", "mean", "sd_over_seeds", "seeds", "subjects", "difference",
        "low", "high", "p", "published", "parameters", "macs", "minutes",
    )]  # fmt: skip
    for line in lines:
        if line.result is None:
            continue
        for m in table.measures:
            difference = line.differences.get(m)
            rows.append([
                line.row.group, line.row.name, m, line.result.mean(m), line.result.sd(m),
                len(line.result.by_seed[m]), len(line.result.values[m]),
                *(astuple(difference) if difference else ("",) * 4),
                line.row.published.get(m, ""),
                *((line.cost.parameters, line.cost.macs) if line.cost else ("", "")),
                line.result.minutes,
            ])  # fmt: skip
    return rows


def _draw(path: Path, table: Table, lines: Sequence[ResultLine]) -> None:
    """Draw the difference of each row from its baseline with its interval, first measure."""
    measure = table.measures[0]
    name, factor, _, unit = _TITLES[measure]
    shown = [line for line in lines if line.differences]
    figure = new_figure(7, 1.2 + 0.35 * max(1, len(shown)))
    axes = figure.add_subplot()
    for n, line in enumerate(reversed(shown)):
        d = line.differences[measure]
        low, high = factor * (d.mean - d.low), factor * (d.high - d.mean)
        color = "#0072B2" if d.low > 0 or d.high < 0 else "#999999"
        axes.errorbar(factor * d.mean, n, xerr=[[low], [high]], fmt="o", color=color, capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [_label(line.row) for line in reversed(shown)])
    axes.set_xlabel(f"{name} minus baseline ({unit}), 95 % interval over subjects")
    axes.set_title(table.title, fontsize=10)
    save_figure(figure, path)


def _label(row: Row) -> str:
    return row.name if row.name.startswith(row.group) else f"{row.group}: {row.name}"


def _cells(line: ResultLine, table: Table) -> list[str]:
    result = line.result
    if result is None:
        return [line.row.name, line.failure or "not run", *[""] * (len(table.measures) + 5)]
    values = [_value(result, line.row, m) for m in table.measures]
    first = line.differences.get(table.measures[0])
    _, factor, digits, _ = _TITLES[table.measures[0]]
    change = ["baseline", ""]
    if first:
        change = [first.text(digits, factor=factor), f"{first.p:.3f}"]
    minutes = "" if isnan(result.minutes) else f"{result.minutes:.1f}"
    return [line.row.name, *values, *change, str(result.missed), *_cost_cells(line.cost), minutes]


def _cost_cells(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["", ""]
    mark = "\\*" if cost.is_dense else ""
    return [f"{cost.parameters / 1e6:.2f}", f"{cost.macs / 1e9:.2f}{mark}"]


def _value(result: RowResult, row: Row, measure: str) -> str:
    _, factor, digits, _ = _TITLES[measure]
    text = f"{factor * result.mean(measure):.{digits}f}"
    sd = result.sd(measure)
    if sd is not None:
        text += f" ± {factor * sd:.{digits}f}"
    if measure in row.published:
        text += f" ({row.published[measure]:g})"
    return text


def _title(measure: str) -> str:
    name, _, _, unit = _TITLES[measure]
    return f"{name} {unit}"
