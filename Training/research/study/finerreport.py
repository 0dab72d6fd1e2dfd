"""The study *finer than the grid* as a table, a CSV file and a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from MorseCore.system.files import write_text
from Training.research.shared.output import markdown_row, new_figure, save_figure, write_csv
from Training.research.shared.scores import Interval
from Training.research.study.upsampling import MASKS, SURFACES, Scores

__all__ = ["Row", "draw", "summarise", "write_tables"]

_UNITS = {"dice": "", "hd95": "mm", "asd": "mm", "assd": "mm"}
_TITLES = {"dice": "DSC", "hd95": "HD95", "asd": "ASD", "assd": "ASSD"}
_KINDS = {"masks": MASKS, "surfaces": SURFACES}


@dataclass(frozen=True)
class Row:
    """One measure of one variant, over subjects."""

    kind: str
    """``masks`` or ``surfaces``."""
    variant: str
    measure: str
    mean: float
    gain: Interval | None
    """``field`` minus this variant, paired by subject; None for field."""
    subjects: int


def summarise(scores: Mapping[int, Mapping[str, Scores]], subjects: Mapping[str, str]) -> list[Row]:
    """:param scores: seed -> case -> scores. :param subjects: case -> subject."""
    rows = []
    for kind, variants in _KINDS.items():
        values = {v: _by_subject(scores, subjects, kind, v) for v in variants}
        for variant, measures in values.items():
            for measure, numbers in measures.items():
                is_field = variant == "field"
                gain = None if is_field else Interval.between(numbers, values["field"][measure])
                rows.append(
                    Row(kind, variant, measure, float(np.mean(numbers)), gain, len(numbers))
                )
    return rows


def _by_subject(
    scores: Mapping[int, Mapping[str, Scores]], subjects: Mapping[str, str], kind: str, variant: str
) -> dict[str, list[float]]:
    """Measure -> one value a subject: mean over its cases and the seeds."""
    grouped: dict[str, dict[str, list[float]]] = {}
    for cases in scores.values():
        for name in sorted(cases):
            for measure, value in cases[name][kind].get(variant, {}).items():
                group = grouped.setdefault(measure, {})
                group.setdefault(subjects.get(name, name), []).append(value)
    return {m: [float(np.mean(v)) for v in group.values()] for m, group in grouped.items()}


def write_tables(folder: Path, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Write ``table.md`` and ``table.csv``; the text of the former."""
    lines = ["# Finer than the grid", ""]
    for kind in _KINDS:
        mine = [row for row in rows if row.kind == kind]
        if not mine:
            continue
        lines += [f"**{kind}**", "", f"| {kind} from | measure | mean | field - this [95 %] |",
                  "|---|---|---|---|"]  # fmt: skip
        for row in mine:
            unit = f" {_UNITS[row.measure]}".rstrip()
            gain = row.gain.text(4) if row.gain else ""
            title = f"{_TITLES[row.measure]}{unit}"
            lines.append(markdown_row([row.variant, title, f"{row.mean:.4f}", gain]))
        lines += ["", f"{mine[0].subjects} subjects.", ""]
    text = "\n".join([*lines, *notes, ""])
    write_text(folder / "table.md", text)
    head = ("kind", "variant", "measure", "mean", "gain", "low", "high", "subjects")
    numbers = [
        (r.kind, r.variant, r.measure, r.mean, *(astuple(r.gain) if r.gain else ("",) * 3),
         r.subjects)
        for r in rows
    ]  # fmt: skip
    write_csv(folder / "table.csv", [head, *numbers])
    return text


def draw(path: Path, rows: Sequence[Row]) -> None:
    """DSC of the masks, and ASSD of masks and surfaces, by variant."""
    panels = [("masks", "dice"), ("masks", "assd"), ("surfaces", "assd")]
    figure = new_figure(11, 3.4)
    for axes, (kind, measure) in zip(figure.subplots(1, 3), panels, strict=True):
        mine = [r for r in rows if (r.kind, r.measure) == (kind, measure)]
        axes.bar([r.variant for r in mine], [r.mean for r in mine], color="#0072B2")
        if mine and measure == "dice":  # the differences are small beside the whole
            axes.set_ylim(max(0.0, min(r.mean for r in mine) - 0.02), None)
        axes.set_title(f"{kind}: {_TITLES[measure]} {_UNITS[measure]}")
    save_figure(figure, path)
