"""One outline, as each row of a table draws it, beside the truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from Training.research.shared.output import new_figure, save_figure
from Training.research.study.outlines import on_outline

__all__ = ["draw_outlines", "longest_slice"]

_MARGIN = 4  # pixels around the outline
_COLOURS = ("#f8d838", "#40c0f0", "#f06060", "#70d070", "#c080f0", "#f0a040")


def longest_slice(labels: np.ndarray) -> int:
    """The slice along K that holds most of an outline: no choice by what a row got right."""
    return int(on_outline(labels).sum(axis=(1, 2)).argmax())


def draw_outlines(
    path: Path,
    image: np.ndarray,
    masks: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    spacing: tuple[float, float, float],
) -> None:
    """Draw a panel for each mask with the truth in white, the truth alone last.

    :param image: (K, J, I), like all masks. :param masks: title -> label map.
    :param spacing: mm along K, J, I.
    :raises OutputError: if it cannot be written.
    """
    k = longest_slice(labels)
    shown = np.logical_or.reduce([np.asarray(m[k]) > 0 for m in (labels, *masks.values())])
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    top, left = (max(0, int(found[0]) - _MARGIN) for found in (rows, columns))
    part = slice(top, int(rows[-1]) + _MARGIN + 1), slice(left, int(columns[-1]) + _MARGIN + 1)
    truth, picture = labels[k][part], image[k][part]
    panels = {**{title: mask[k][part] for title, mask in masks.items()}, "truth": None}
    height = 3.2 * picture.shape[0] * spacing[1] / (picture.shape[1] * spacing[2])
    figure = new_figure(3.2 * len(panels), height + 0.4)
    low, high = np.percentile(picture, (1, 99))
    for axes, (title, mask) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high, origin="lower",
                    aspect=spacing[1] / spacing[2])  # fmt: skip
        for n, value in enumerate(np.unique(truth[truth > 0])):
            axes.contour(truth == value, levels=[0.5], colors="white", linewidths=1.0)
            if mask is not None and (mask == value).any():
                colour = _COLOURS[n % len(_COLOURS)]
                axes.contour(mask == value, levels=[0.5], colors=colour, linewidths=1.6)
        wrong = "" if mask is None else f"\n{np.count_nonzero(mask != truth)} pixels differ"
        axes.set_title(title + wrong, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path)
