"""The pictures of a training: its losses, what the validation split said, and the worst case."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.system.files import atomic_path
from MorseCore.training.validation import STAGES, SeenCase

__all__ = ["WORST", "draw_curves", "draw_worst", "try_drawing"]

log = logging.getLogger(__name__)

WORST = "worst.png"
"""The file in a run's folder that shows the worst case of the last validation."""

_POINTS = 200  # of a loss curve: more cannot be told apart
_OUTLINES = (("drawn", "#00d7ff", 1.8), ("found", "#ff5a3c", 1.0))  # with any colour vision


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


def draw_worst(case: SeenCase, picture: Path, *, step: int) -> None:
    """The slice in which mask and labels differ most: the image, and beside it both outlines.

    As radiologists look at it: the patient's right at the left, the front above.

    :raises OutputError: if the picture cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    k = _worst_slice(case)
    image, labels, mask = (x[k, ::-1, ::-1] for x in (case.image, case.labels, case.mask))
    low, high = np.percentile(image, [1, 99.5])
    height, width = np.multiply(image.shape, case.spacing[1:])
    figure = Figure(figsize=(9, float(np.clip(4.5 * height / width, 2.5, 9)) + 1),
                    layout="constrained")  # fmt: skip
    panels = figure.subplots(1, 2)
    for axes in panels:
        axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6),
                    aspect=case.spacing[1] / case.spacing[2])  # fmt: skip
        axes.set_axis_off()
    for part, (_, color, line) in zip((labels, mask), _OUTLINES, strict=True):
        for value in np.unique(part[part > 0]):
            panels[1].contour(part == value, levels=[0.5], colors=color, linewidths=line)
    figure.suptitle(f"{case.name}: DSC {case.dice:.3f}, the worst of step {step}; "
                    f"slice {k + 1} of {len(case.image)}", parse_math=False)  # fmt: skip
    figure.legend(handles=[Line2D([], [], color=color, linewidth=line, label=name)
                           for name, color, line in _OUTLINES],
                  loc="outside lower center", ncols=2)  # fmt: skip
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _worst_slice(case: SeenCase) -> int:
    """Where mask and labels differ most; where most is drawn, if they agree."""
    wrong = np.count_nonzero(case.mask != case.labels, axis=(1, 2))
    drawn = np.count_nonzero(case.labels, axis=(1, 2))
    return int(np.argmax(wrong if wrong.any() else drawn))


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
