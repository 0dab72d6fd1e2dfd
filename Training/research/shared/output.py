"""The files of a study: a table as Markdown, every number as CSV, a picture."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from MorseCore.system.files import atomic_path, write_text
from MorseCore.training.validation import STAGES
from Training.research.shared.scores import Cases

__all__ = ["draw_scores", "markdown_table", "new_figure", "save_figure", "write_tables"]

_DRAWN = (("dice", "DSC"), ("hd95", "HD95 in mm"))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, ``| a | b |``."""
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]


def write_tables(
    folder: Path, lines: Sequence[str], numbers: Iterable[Sequence[object]], *, name: str = "table"
) -> str:
    """Write ``table.md``, and ``table.csv`` with every number unrounded; the text of the former.

    :param numbers: rows, the header first.
    :param name: of both files, without their endings.
    :raises OutputError: if a file cannot be written.
    """
    with (
        atomic_path(folder / f"{name}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream).writerows(numbers)
    text = "\n".join([*lines, ""])
    write_text(folder / f"{name}.md", text)
    return text


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches. matplotlib is imported here, not at start-up."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG.

    :raises OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def draw_scores(cases: Cases, names: Mapping[int, str], path: Path) -> None:
    """DSC and HD95 of every case as a line from the coarse to the refined mask, by structure.

    :param names: of the structures, by label.
    :raises OutputError: if it cannot be written.
    """
    labels = sorted({label for stages in cases.values() for label in stages["refined"].structures})
    figure = new_figure(2 + 1.4 * len(labels), 6)
    for axes, (measure, title) in zip(figure.subplots(len(_DRAWN), 1), _DRAWN, strict=True):
        ticks = []
        for n, label in enumerate(labels):
            places = [2.5 * n, 2.5 * n + 1]
            ticks += list(zip(places, STAGES, strict=True))
            scores = [[getattr(stages[stage].structures[label], measure) for stage in STAGES]
                      for stages in cases.values()]  # fmt: skip
            for values in scores:
                axes.plot(places, values, color=f"C{n}", alpha=0.4, lw=0.8, marker=".")
            medians = [median(column) for column in zip(*scores, strict=True)]
            axes.plot(places, medians, color="k", lw=2, marker="o")
            axes.text(sum(places) / 2, 1.01, names[label], ha="center", va="bottom",
                      transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set_xticks([place for place, _ in ticks], [stage for _, stage in ticks], rotation=30)
        axes.set_ylabel(title)
    figure.suptitle(f"{len(cases)} cases; black: their median", fontsize=10)
    save_figure(figure, path)
