"""Score a model at other resolutions than it was trained for, of its input and of its output.

    python Training/research/resolution_shift.py MODEL CONFIG
    python Training/research/resolution_shift.py MODEL CONFIG --inputs 0.5,1 --outputs 1,2

Input: the image is made coarser or finer before the model prepares it; the masks are scored on the
image's own grid. Output: the field is asked on a grid finer or coarser than the model's; the masks
are scored against the labels brought to that grid, a finer one only where the labels were drawn so
finely. Any model folder; the data set is that of a training's configuration, or a ``dataset.json``
of yours (as for score.py). Writes ``<output>/table.md``, ``table.csv``, ``plot.png`` and every
case's scores. After an interruption, run it again and it continues.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

import numpy as np
from tqdm import tqdm

from MorseCore.errors import ConfigError
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.casetable import read_cases, write_cases
from MorseCore.metrics.subjects import subjects_of
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory
from MorseCore.training.dataset import Case, Decathlon
from MorseCore.training.validation import STAGES
from Training.research.shared.commandline import add_model_and_data, command_line, exit_code
from Training.research.shared.data import PARTS, cases_of, compare_by_number, open_data
from Training.research.shared.identity import check_model_identity, read_scores
from Training.research.shared.output import markdown_table, new_figure, save_figure, write_tables
from Training.research.shared.scores import Cases, Interval, pair_subjects, values_by_subject
from Training.research.study.shifts import Shift, score_shift

MEASURES = ("dice", "hd95", "asd")
NOTE = (
    "Means over structures and subjects; a missed structure scores DSC 0 and the image's diagonal. "
    "Δ: refined masks against those of the same kind without a shift, paired by subject, bootstrap "
    "interval. Input: the image had so many times the pixels an axis, the masks are scored on its "
    "own grid. Output: the masks have so many times the model's pixels an axis, the labels were "
    "brought to that grid; there Δ also holds what another pixel size does to the measure itself."
)
HEAD = (
    "shift",
    "subjects",
    "DSC coarse %",
    "DSC refined %",
    "HD95 mm",
    "Δ DSC [95 %]",
    "Δ HD95 mm",
)
COLUMNS = (
    "kind", "factor", "stage", "measure", "cases", "subjects", "mean", "low", "high", "difference",
    "difference_low", "difference_high",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: scored; 1: failed or stopped; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: print(run(options)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    add_model_and_data(result)
    result.add_argument("--inputs", type=factors, default=[0.25, 0.5, 1, 2], metavar="F,F,…")
    result.add_argument("--outputs", type=factors, default=[0.5, 1, 2], metavar="F,F,…")
    result.add_argument("--split", choices=PARTS, default="test")
    result.add_argument("--device", default="auto")
    result.add_argument(
        "--output", type=Path, metavar="DIR", help="default: runs/resolution-shift-MODEL"
    )
    return result


def factors(text: str) -> list[float]:
    """``0.5,1,2`` as a list; none if the text is empty.

    :raises argparse.ArgumentTypeError: if it is no such list.
    """
    try:
        return [float(part) for part in text.split(",") if part]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers with commas between; found '{text}'"
        ) from None


def run(options: argparse.Namespace) -> str:
    """Score what is missing, and write the table; its text."""
    rows = shifts("input", options.inputs) + shifts("output", options.outputs)
    if not rows:
        raise ConfigError("'--inputs' and '--outputs' are both empty: there is nothing to score.")
    where, data = open_data(options.config)
    chosen = cases_of(data, options.split)
    predictor = VolumePredictor(find_model(options.model), device=options.device)
    compare_by_number(predictor.info, data)
    subjects = subjects_of(Path(where.dataset))
    output = options.output or Path("runs") / f"resolution-shift-{predictor.info.name}"
    prepare_output_directory(output)
    done = {name for table in output.glob("scores-*.csv") for name in read_cases(table)}
    check_model_identity(
        output / "study.json", predictor.info, chosen, done=done, script="resolution_shift",
        part=options.split, found="scores of another model or data",
    )  # fmt: skip
    with tqdm(total=len(rows) * len(chosen), unit="case") as bar:
        scored = [score_cases(predictor, data, chosen, row, output, bar) for row in rows]
    lines = collect_lines(dict(zip(rows, scored, strict=True)), subjects)
    title = f"Resolution shift: {predictor.info.name} on {data.name}, {options.split}"
    table = markdown_table(HEAD, map(cells, lines))
    text = write_tables(output, [f"# {title}", "", *table, "", NOTE], numbers(lines))
    draw(output / "plot.png", lines, title)
    return text


def shifts(kind: Literal["input", "output"], values: Sequence[float]) -> list[Shift]:
    """The rows of one kind by factor, and the one without a shift, which they are compared with."""
    return [Shift(kind, factor) for factor in sorted({*values, 1.0})] if values else []


def score_cases(
    predictor: VolumePredictor,
    data: Decathlon,
    chosen: Sequence[Case],
    shift: Shift,
    output: Path,
    bar: tqdm,
) -> Cases:
    """Scores by case; those without labels at the output's resolution are left out.

    Each case is written when it is done.
    """
    path = output / f"scores-{shift.name.replace(' ', '-')}.csv"
    cases = read_scores(path)
    bar.set_description(shift.name)
    for case in chosen:
        if case.name not in cases:
            scores = score_shift(predictor, case, shift)
            if scores is not None:
                cases[case.name] = scores
                write_cases(path, cases, data.labels)
        bar.update()
    return {case.name: cases[case.name] for case in chosen if case.name in cases}


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


def cells(line: ShiftLine) -> list[str]:
    """A row of the table for people."""
    if not line.subjects:
        return [line.shift.name, "0", "no labels so fine", "", "", "", ""]
    coarse, refined = (f"{100 * line.scores[stage, 'dice'].mean:.2f}" for stage in STAGES)
    change = ["", ""]
    if line.differences:
        dice, hd95 = line.differences["dice"], line.differences["hd95"]
        change = [dice.text(2, factor=100), f"{hd95.mean:+.2f}"]
    distance = f"{line.scores['refined', 'hd95'].mean:.2f}"
    return [line.shift.name, str(line.subjects), coarse, refined, distance, *change]


def numbers(lines: Sequence[ShiftLine]) -> list[Sequence[object]]:
    """Every number, unrounded: a shift, stage and measure a line."""
    return [COLUMNS, *(
        (
            line.shift.kind, line.shift.factor, stage, measure, line.cases, line.subjects,
            *Interval.cells(score),
            *Interval.cells(line.differences.get(measure) if stage == "refined" else None),
        )
        for line in lines for (stage, measure), score in line.scores.items()
    )]  # fmt: skip


def draw(path: Path, lines: Sequence[ShiftLine], title: str) -> None:
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
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
