"""The picture of a training: its losses, and what the validation split said."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.system.files import atomic_path
from MorseCore.training.validation import STAGES

__all__ = ["draw_curves", "try_drawing"]

log = logging.getLogger(__name__)

_POINTS = 200  # of a loss curve: more cannot be told apart


def draw_curves(metrics: Path, picture: Path) -> None:
    """Losses (medians of neighbouring steps) and validation DSC by step.

    :param metrics: ``metrics.jsonl`` of a training, finished or not.
    :raises OutputError: if the picture cannot be written.
    """
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [r for r in records if "rate" in r]
    checks = [r for r in records if "validation" in r]
    figure = Figure(figsize=(8, 7), layout="constrained")
    losses, dice = figure.subplots(2, 1, sharex=True)
    for name in [k for k in (steps[-1] if steps else {}) if k not in ("step", "rate")]:
        x, y = _medians([r for r in steps if name in r], name)
        losses.plot(x, y, label=name)
    losses.set(yscale="log", ylabel="loss, medians")
    for stage in STAGES:
        found = [(r["step"], r["validation"][stage]["dice"]) for r in checks
                 if stage in r["validation"]]  # fmt: skip
        dice.plot([step for step, _ in found], [value for _, value in found],
                  marker="o", label=stage)  # fmt: skip
    _draw_monitor(dice, [r for r in records if "monitor" in r])
    dice.set(ylabel="validation DSC", xlabel="step")
    for axes in (losses, dice):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_monitor(axes: Any, looks: Sequence[dict[str, Any]]) -> None:
    """DSC with each reference of the scans that are watched, the mean over scans."""
    found: dict[str, list[tuple[int, float]]] = {}
    for look in looks:
        cases = look["monitor"].values()
        for name in dict.fromkeys(name for case in cases for name in case):
            values = [case[name]["mean"] for case in cases if name in case]
            found.setdefault(name, []).append((look["step"], float(np.mean(values))))
    for name, points in found.items():
        steps, means = zip(*points, strict=True)
        axes.plot(steps, means, marker="x", linestyle="--", label=f"watched: {name}")


def _medians(records: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Mean step and median value of consecutive groups of records, at most ``_POINTS`` of them."""
    groups = np.array_split(
        np.array([(r["step"], r[name]) for r in records]), min(_POINTS, len(records))
    )
    return (
        [float(group[:, 0].mean()) for group in groups],
        [float(np.median(group[:, 1])) for group in groups],
    )


def try_drawing(draw: Callable[[], None]) -> bool:
    """Draw, or say why not; whether there is a picture.

    matplotlib may be missing (it is of the extra ``train``) or not fit, and the old picture may be
    open in another program: hours of work before it must not end in an error for that.
    """
    try:
        draw()
    except Exception as error:
        log.warning("No picture was drawn: %s", error)
        return False
    return True
