"""What a resolution shift costs: lines compared with no shift, as Markdown, CSV and a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.files import write_text
from MorseCore.training.dataset import Decathlon
from MorseCore.training.validation import STAGES
from Training.research.shared.output import markdown_row, new_figure, save_figure, write_csv
from Training.research.shared.scores import Cases, Interval, pair_subjects, values_by_subject
from Training.research.study.shifts import Shift

__all__ = ["ShiftLine", "collect_lines", "write_shifts"]

MEASURES = ("dice", "hd95", "asd")
_NOTE = (
    "Means over structures and subjects; a missed structure scores DSC 0 and the image's diagonal. "
    "Δ: refined masks against those of the same kind without a shift, paired by subject, bootstrap "
    "interval. Input: the image had so many times the pixels an axis, the masks are scored on its "
    "own grid. Output: the masks have so many times the model's pixels an axis, the labels were "
    "brought to that grid; there Δ also holds what another pixel size does to the measure itself."
)


@dataclass(frozen=True)
class ShiftLine:
    """A shift and its scores; it has no subjects if no case had labels for it."""

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
                scores[stage, measure] = Interval.of(list(values.values()))
        for measure in MEASURES if cases and shift.factor != 1 else ():
            before, after = (
                values_by_subject(part, subjects, stage="refined", measure=measure)
                for part in (unshifted, cases)
            )
            differences[measure] = Interval.between(*pair_subjects(before, after))
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
    write_text(output / "table.md", content)
    _write_numbers(output / "table.csv", lines)
    _draw(output / "plot.png", lines, title)
    return content


def _row(line: ShiftLine) -> str:
    if not line.subjects:
        return f"| {line.shift.name} | 0 | no labels so fine | | | | |"
    coarse, refined = (100 * line.scores[stage, "dice"].mean for stage in STAGES)
    change = ["", ""]
    if line.differences:
        dice, hd95 = line.differences["dice"], line.differences["hd95"]
        change = [dice.text(2, factor=100), f"{hd95.mean:+.2f}"]
    distance = line.scores["refined", "hd95"].mean
    return markdown_row([
        line.shift.name, str(line.subjects), f"{coarse:.2f}", f"{refined:.2f}", f"{distance:.2f}",
        *change,
    ])  # fmt: skip


def _write_numbers(path: Path, lines: Sequence[ShiftLine]) -> None:
    """Write every number, unrounded: a shift, stage and measure a line."""
    rows: list[Sequence[object]] = [(
        "kind", "factor", "stage", "measure", "cases", "subjects", "mean", "low", "high",
        "difference", "difference_low", "difference_high",
    )]  # fmt: skip
    for line in lines:
        for (stage, measure), score in line.scores.items():
            change = line.differences.get(measure) if stage == "refined" else None
            rows.append([
                line.shift.kind, line.shift.factor, stage, measure, line.cases, line.subjects,
                *astuple(score), *(astuple(change) if change else ("",) * 3),
            ])  # fmt: skip
    write_csv(path, rows)


def _draw(path: Path, lines: Sequence[ShiftLine], title: str) -> None:
    """Draw DSC over the factor, a panel a kind, both stages with their intervals."""
    from matplotlib.ticker import FixedLocator, NullLocator

    kinds = list(dict.fromkeys(line.shift.kind for line in lines))
    figure = new_figure(4.2 * len(kinds), 3.6)
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
    save_figure(figure, path, dpi=120)
