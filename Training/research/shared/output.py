"""How a study shows what it found: rows of Markdown, a CSV file, a picture."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from MorseCore.system.files import atomic_path

__all__ = ["markdown_row", "new_figure", "save_figure", "write_csv"]


def markdown_row(cells: Iterable[str]) -> str:
    """``| a | b |``."""
    return "| " + " | ".join(cells) + " |"


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows, the header first.

    :raises OutputError: if the file cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream).writerows(rows)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches. matplotlib is imported here, not at start-up."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path, *, dpi: int = 110) -> None:
    """Write a figure as PNG.

    :raises OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
