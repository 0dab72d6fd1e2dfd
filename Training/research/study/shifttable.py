"""What a resolution shift costs: lines compared with no shift, as Markdown, CSV and a picture."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.evaluation import bootstrap_difference
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.files import atomic_path
from MorseCore.training.dataset import Decathlon
from MorseCore.training.validation import STAGES
from Training.research.study.shifts import Shift
from Training.research.study.subjects import values_by_subject

__all__ = ["Cases", "Interval", "ShiftLine", "collect_lines", "write_shifts"]

MEASURES = ("dice", "hd95", "asd")
_NOTE = (
    "Means over structures and subjects; a missed structure scores DSC 0 and the image's diagonal. "
    "Δ: refined masks against those of the same kind without a shift, paired by subject, bootstrap "
    "interval. Input: the image had so many times the pixels an axis, the masks are scored on its "
    "own grid. Output: the masks have so many times the model's pixels an axis, the labels were "
    "brought to that grid; there Δ also holds what another pixel size does to the measure itself."
)

Cases = dict[str, Mapping[str, CaseScore]]
"""Case -> stage -> score."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval: bootstrap over subjects."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ShiftLine:
    """A shift with what was scored under it; without subjects if no case had labels for it."""

    shift: Shift
    cases: int
    subjects: int
    scores: Mapping[tuple[str, str], Interval]
    """By stage and measure."""
    differences: Mapping[str, Interval]
    """Measure -> refined minus refined without a shift, over the subjects that both have."""


def collect_lines(scored: Mapping[Shift, Cases], subjects: Mapping[str, str]) -> list[ShiftLine]:
    """A line a shift.

    :param subjects: case -> subject; a case that is not named is a subject of its own.
    """
    lines = []
    for shift, cases in scored.items():
        unshifted = scored[Shift(shift.kind, 1.0)]
        scores, differences, count = {}, {}, 0
        for stage in STAGES if cases else ():
            for measure in MEASURES:
                values = values_by_subject(cases, subjects, stage=stage, measure=measure)
                count = len(values)
                scores[stage, measure] = _interval([0.0] * count, list(values.values()))
        for measure in MEASURES if cases and shift.factor != 1 else ():
            before, after = (
                values_by_subject(part, subjects, stage="refined", measure=measure)
                for part in (unshifted, cases)
            )
            both = sorted(before.keys() & after.keys())
            differences[measure] = _interval([before[s] for s in both], [after[s] for s in both])
        lines.append(ShiftLine(shift, len(cases), count, scores, differences))
    return lines


def write_shifts(
    output: Path, lines: Sequence[ShiftLine], *, model: ModelInfo, data: Decathlon, split: str
) -> str:
    """Write ``table.md``, ``table.csv`` and ``plot.png``; the Markdown."""
    title = f"Resolution shift: {model.name} on {data.name}, {split}"
    text = [
        f"# {title}", "",
        "| shift | subjects | DSC coarse % | DSC refined % | HD95 mm | Δ DSC [95 %] | Δ HD95 mm |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(line) for line in lines), "", _NOTE, "",
    ]  # fmt: skip
    content = "\n".join(text)
    with atomic_path(output / "table.md") as temporary:
        temporary.write_text(content, encoding="utf-8")
    _write_csv(output / "table.csv", lines)
    _draw(output / "plot.png", lines, title)
    return content


def _interval(before: Sequence[float], after: Sequence[float]) -> Interval:
    found = bootstrap_difference(before, after)
    return Interval(found["difference"], found["low"], found["high"])


def _row(line: ShiftLine) -> str:
    if not line.subjects:
        return f"| {line.shift.name} | 0 | no labels so fine | | | | |"
    coarse, refined = (100 * line.scores[stage, "dice"].mean for stage in STAGES)
    change = ["", ""]
    if line.differences:
        dice, hd95 = line.differences["dice"], line.differences["hd95"]
        low, mean, high = (f"{100 * x:+.2f}" for x in (dice.low, dice.mean, dice.high))
        change = [f"{mean} [{low}, {high}]", f"{hd95.mean:+.2f}"]
    distance = line.scores["refined", "hd95"].mean
    cells = [line.shift.name, str(line.subjects), f"{coarse:.2f}", f"{refined:.2f}",
             f"{distance:.2f}", *change]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _write_csv(path: Path, lines: Sequence[ShiftLine]) -> None:
    """Write every number, unrounded, a shift, stage and measure a line."""
    head = ["kind", "factor", "stage", "measure", "cases", "subjects", "mean", "low", "high",
            "difference", "difference_low", "difference_high"]  # fmt: skip
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(head)
        for line in lines:
            for (stage, measure), score in line.scores.items():
                change = line.differences.get(measure) if stage == "refined" else None
                writer.writerow([
                    line.shift.kind, line.shift.factor, stage, measure, line.cases, line.subjects,
                    score.mean, score.low, score.high,
                    *((change.mean, change.low, change.high) if change else ("",) * 3),
                ])  # fmt: skip


def _draw(path: Path, lines: Sequence[ShiftLine], title: str) -> None:
    """Draw DSC over the factor, a panel a kind, both stages with their intervals."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    kinds = list(dict.fromkeys(line.shift.kind for line in lines))
    figure = Figure(figsize=(4.2 * len(kinds), 3.6), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        shown = [line for line in lines if line.shift.kind == kind and line.subjects]
        at = [line.shift.factor for line in shown]
        for stage, color, style in zip(STAGES, ("#999999", "#0072B2"), ("s--", "o-"), strict=True):
            scores = [line.scores[stage, "dice"] for line in shown]
            means = 100 * np.array([s.mean for s in scores])
            spread = [means - [100 * s.low for s in scores], [100 * s.high for s in scores] - means]
            axes.errorbar(at, means, yerr=spread, fmt=style, color=color, capsize=3, label=stage)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(at))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(f"{kind}: pixels an axis, times the usual")
    panels[0].set_ylabel("DSC %, 95 % interval")
    panels[0].legend()
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
