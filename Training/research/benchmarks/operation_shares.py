"""The picture of benchmarks: every figure as a share of its target."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MorseCore.system.files import atomic_path

__all__ = ["draw_shares"]


def draw_shares(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """One bar a figure: value over target, or target over value where more is better.

    :param reports: JSON of :class:`Training.research.benchmarks.report.Report`.
    :raises OutputError: if it cannot be written.
    """
    from matplotlib.figure import Figure

    figures = [(r["name"], f) for r in reports for f in r["figures"] if f["target"] and f["value"]]
    shares = [f["target"] / f["value"] if f["at_least"] else f["value"] / f["target"]
              for _, f in figures]  # fmt: skip
    picture = Figure(figsize=(8, 1 + 0.4 * len(figures)), layout="constrained")
    axes = picture.subplots()
    colors = ["#0072b2" if f["met"] else "#d55e00" for _, f in figures]
    axes.barh(range(len(figures)), shares, color=colors)
    axes.set_yticks(range(len(figures)), [f"{name}: {f['name']}" for name, f in figures])
    axes.axvline(1, color="k", lw=1)
    axes.invert_yaxis()
    axes.set_xlabel("share of the target (left of the line: met)")
    with atomic_path(path) as temporary:
        picture.savefig(temporary, dpi=110, format="png")
