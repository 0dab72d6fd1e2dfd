"""A table as Markdown, CSV and a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from MorseCore.metrics.cost import Cost
from MorseCore.system.files import write_text
from Training.research.shared.output import markdown_row, new_figure, save_figure, write_csv
from Training.research.study.definition import Row, Table
from Training.research.study.results import Difference, RowResult

__all__ = ["Line", "write_markdown", "write_numbers", "write_plot"]

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
class Line:
    """A row with all that is known of it; ``result`` is None if it failed or has not run."""

    row: Row
    cost: Cost | None
    result: RowResult | None
    differences: Mapping[str, Difference]
    """Measure -> row minus baseline; empty for the baseline."""
    failure: str = ""


def write_markdown(path: Path, table: Table, lines: Sequence[Line], *, notes: Sequence[str]) -> str:
    """Write the table for people; its text."""
    titles = [_title(m) for m in table.measures]
    head = ["row", *titles, f"Δ {titles[0]} [95 %]", "p", "missed", "M params", "GMAC", "min"]
    text = [f"# {table.title}", "", table.source, ""]
    text += [markdown_row(head), markdown_row(["---"] * len(head))]
    group = ""
    for line in lines:
        if line.row.group != group:
            group = line.row.group
            text.append(markdown_row([f"**{group}**", *[""] * (len(head) - 1)]))
        text.append(markdown_row(_cells(line, table)))
    text += ["", *notes]
    if any(line.cost is not None and line.cost.is_dense for line in lines):
        text += ["", _DENSE]
    if table.note:
        text += ["", table.note]
    content = "\n".join([*text, ""])
    write_text(path, content)
    return content


def write_numbers(path: Path, table: Table, lines: Sequence[Line]) -> None:
    """Write every number, unrounded, as CSV: a row and measure a line."""
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
    write_csv(path, rows)


def write_plot(path: Path, table: Table, lines: Sequence[Line]) -> None:
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
    save_figure(figure, path, dpi=120)


def _label(row: Row) -> str:
    return row.name if row.name.startswith(row.group) else f"{row.group}: {row.name}"


def _cells(line: Line, table: Table) -> list[str]:
    result = line.result
    if result is None:
        return [line.row.name, line.failure or "not run", *[""] * (len(table.measures) + 5)]
    values = [_value(result, line.row, m) for m in table.measures]
    first = line.differences.get(table.measures[0])
    _, factor, digits, _ = _TITLES[table.measures[0]]
    change = ["baseline", ""]
    if first:
        change = [first.text(digits, factor=factor), f"{first.p:.3f}"]
    minutes = "" if math.isnan(result.minutes) else f"{result.minutes:.1f}"
    return [line.row.name, *values, *change, str(result.missed), *_cost(line.cost), minutes]


def _cost(cost: Cost | None) -> list[str]:
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
