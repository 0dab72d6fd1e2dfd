"""The summary of an evaluation as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from MorseCore.metrics.scores import MEASURES

__all__ = ["format_table"]

_SHOWN = [measure for measure in MEASURES if measure.is_shown]
_TITLES = [*(measure.title for measure in _SHOWN), "missed"]


def format_table(summary: Mapping[str, Any]) -> str:
    """Means over cases, a line a structure; coarse and refined side by side if both are there.

    :param summary: what `MorseCore.metrics.evaluation.evaluate_folder` returned.
    """
    stages: Mapping[str, Any] = summary["stages"]
    names = list(stages)
    if len(stages) > 1:  # a title over the first column of each group, the stages below
        head = [
            ["", *(cell for title in _TITLES for cell in (title, *[""] * (len(stages) - 1)))],
            ["structure", *names * len(_TITLES)],
        ]
    else:
        head = [["structure", *_TITLES]]
    body = []
    for label, part in stages[names[0]]["structures"].items():
        parts = [stage["structures"][label] for stage in stages.values()]
        body.append([part["name"], *_cells(parts)])
    mean = ["mean", *_cells([stage["mean"] for stage in stages.values()])]
    return "\n".join([*_align(head, body, mean), "", *_notes(summary)])


def _cells(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [f"{part[m.name]['mean']:.{m.digits}f}" for m in _SHOWN for part in parts]
    return cells + [str(part["n_missed"]) for part in parts]


def _align(
    head: Sequence[Sequence[str]], body: Sequence[Sequence[str]], last: Sequence[str]
) -> list[str]:
    """First column to the left, numbers to the right, a rule under the head and above the last."""
    rows = [*head, *body, last]
    widths = [max(len(row[n]) for row in rows) for n in range(len(last))]
    lines = [
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return [*lines[: len(head)], rule, *lines[len(head) : -1], rule, lines[-1]]


def _notes(summary: Mapping[str, Any]) -> list[str]:
    """Number of cases, what was penalised, and how far refined differs from coarse."""
    legacy = summary["rule"] == "legacy"
    unit = "mm" if summary["rule"] == "mm" else "voxels"
    notes = [f"Means over {summary['cases']} case(s); distances in {unit}."]
    if legacy:
        notes.append(
            "As in the code behind the papers' tables: a missed structure has distance 0, and a "
            "spurious one scores 1. Not to be compared with other tables."
        )
    iou = [(stage, entry.get("miou")) for stage, entry in summary["stages"].items()]
    shown = ", ".join(f"{stage} {value['mean']:.4f}" for stage, value in iou if value)
    if shown:
        notes.append(f"mIoU (background included): {shown}.")
    means = {stage: entry["mean"] for stage, entry in summary["stages"].items()}
    if not legacy and any(mean["n_missed"] or mean["n_spurious"] for mean in means.values()):
        notes.append("A missed or spurious structure counts as DSC 0 and the image's diagonal.")
        spurious = ", ".join(f"{stage} {mean['n_spurious']}" for stage, mean in means.items())
        notes.append(f"Spurious (predicted where the reference has none): {spurious}.")
        found = ", ".join(f"{stage} {_found(mean['hd95'])}" for stage, mean in means.items())
        notes.append(f"HD95 without the missed and spurious ones: {found} {unit}.")
    if summary["left_out"]:
        values = ", ".join(map(str, summary["left_out"]))
        notes.append(f"Left out, since they are none of the structures: the values {values}.")
    if summary["unpredicted"]:
        notes.append(
            f"Left out, since they were not predicted: {len(summary['unpredicted'])} "
            f"({_few(summary['unpredicted'])})."
        )
    for stage, cases in summary["missing"].items():
        if cases:
            notes.append(
                f"Without a {stage} label map, counted as missed: {len(cases)} ({_few(cases)})."
            )
    for m in _SHOWN:
        entry = summary.get("comparison", {}).get(m.name)
        if entry:
            change, *ends = (f"{entry[key]:+.{m.digits}f}" for key in ("difference", "low", "high"))
            interval = " to ".join(ends)
            notes.append(f"refined - coarse, {m.title}: {change}  (95 % interval {interval})")
    for name, row in summary.get("against", {}).items():
        for m in _SHOWN:
            if m.name in row:
                entry = row[m.name]
                change, *ends = (f"{entry[k]:+.{m.digits}f}" for k in ("difference", "low", "high"))
                interval = " to ".join(ends)
                notes.append(f"prediction - against, {name}, {m.title}: {change}  "
                             f"(95 % interval {interval})")  # fmt: skip
    if "comparison" in summary or "against" in summary:
        notes.append(_independence(summary["cases"], summary["subjects"]))
    return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _found(statistic: Mapping[str, Any]) -> str:
    value = statistic["valid_mean"]
    return "none" if value is None else f"{value:.2f}"


def _independence(cases: int, subjects: int) -> str:
    """What the intervals take for independent."""
    if subjects < cases:
        return f"The intervals are over {subjects} subjects, each a mean over its cases."
    return (
        f"The intervals take the {cases} cases for independent; where one person has several, name "
        "them by --subjects."
    )
