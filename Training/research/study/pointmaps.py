"""The rendered points over the coarse and the refined masks, as in MORSE's Fig. 4."""

from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.images.imageio import Volume
from MorseCore.result import Segmentation
from MorseCore.system.files import atomic_path

__all__ = ["draw_points", "slices_to_show"]

_MARGIN = 6  # voxels around the structures
_WIDTH = 4.2  # inches of a panel


def slices_to_show(foreground: np.ndarray) -> tuple[int, list[int]]:
    """The array axis to look along, and up to three slices.

    The axis shows most of the structures' shadow; on it, the slices divide the foreground voxels
    into quarters.

    :param foreground: (K, J, I) bool.
    """
    if not foreground.any():
        return 0, [foreground.shape[0] // 2]
    axis = int(np.argmax([foreground.any(axis=n).sum() for n in range(3)]))
    profile = foreground.sum(axis=tuple(n for n in range(3) if n != axis))
    quarters = np.searchsorted(np.cumsum(profile), profile.sum() * np.array([0.25, 0.5, 0.75]))
    return axis, sorted({int(n) for n in quarters})


def draw_points(volume: Volume, result: Segmentation, path: Path) -> None:
    """Two rows: coarse masks, refined masks; a column a slice. A ring: the label was changed."""
    from matplotlib.figure import Figure

    foreground = (result.coarse > 0) | (result.refined > 0)
    axis, slices = slices_to_show(foreground)
    rest = [n for n in range(3) if n != axis]
    box = _box(np.take(foreground, slices, axis=axis), rest)
    spacing = volume.geometry.spacing[::-1]
    aspect = spacing[rest[0]] / spacing[rest[1]]
    height, width = (s.stop - s.start for s in box)
    ratio = aspect * height / width
    figure = Figure(
        figsize=(_WIDTH * len(slices) + 1.2, 2 * _WIDTH * ratio + 0.8), layout="constrained"
    )
    panels = figure.subplots(2, len(slices), squeeze=False)
    dark, bright = np.percentile(volume.array, (1, 99))
    shades = None
    for row, (name, masks) in enumerate((("coarse", result.coarse), ("refined", result.refined))):
        for axes, index in zip(panels[row], slices, strict=True):
            picture, labels = (np.take(x, index, axis=axis)[box] for x in (volume.array, masks))
            bounds = (
                box[1].start - 0.5, box[1].stop - 0.5, box[0].start - 0.5, box[0].stop - 0.5
            )  # fmt: skip
            axes.imshow(picture, cmap="gray", origin="lower", extent=bounds, vmin=dark, vmax=bright)
            axes.imshow(_fill(labels, result), origin="lower", extent=bounds)
            shades = _scatter(axes, result, axis, index, pixel=72 * _WIDTH / width)
            axes.set(xlim=bounds[:2], ylim=bounds[2:], aspect=aspect, xticks=[], yticks=[])
            if row == 0:
                axes.set_title(f"{'kji'[axis]} = {index}", fontsize=10)
        panels[row][0].set_ylabel(name)
    count, changed = len(result.points), int(result.points.changed.sum())
    figure.suptitle(f"{count} points rendered; {changed} (ringed) got another label", fontsize=11)
    figure.colorbar(shades, ax=panels, fraction=0.03, pad=0.01).set_label("uncertainty")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _box(foreground: np.ndarray, rest: list[int]) -> tuple[slice, slice]:
    """The part of a slice to show: all structures and a margin, or all if there are none."""
    parts = []
    for axis in rest:
        used = np.flatnonzero(foreground.any(axis=tuple(n for n in range(3) if n != axis)))
        size = foreground.shape[axis]
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, size)
        parts.append(slice(max(0, low - _MARGIN), min(size, high + _MARGIN)))
    return parts[0], parts[1]


def _fill(labels: np.ndarray, result: Segmentation) -> np.ndarray:
    """(*S, 4): the structures' colours, translucent."""
    fill = np.zeros((*labels.shape, 4))
    for structure in result.structures:
        fill[labels == structure.value] = (*structure.color, 0.4)
    return fill


def _scatter(axes: Any, result: Segmentation, axis: int, index: int, *, pixel: float) -> Any:
    """The points of a slice, coloured by uncertainty.

    :param pixel: width of a pixel in the figure, in 1/72 inch.
    """
    points = result.points
    places = points.indices[:, ::-1]  # (P, 3) in array order
    here = places[:, axis] == index
    x, y = (places[here][:, n] for n in [n for n in (2, 1, 0) if n != axis])
    doubt, changed = points.uncertainty[here], points.changed[here]
    # Most points of a generous budget were hardly in doubt: small, or they would hide the image.
    diameter = pixel * (0.2 + 0.4 * doubt)
    axes.scatter(
        x[changed], y[changed], s=(0.9 * pixel) ** 2, facecolors="none", edgecolors="white",
        linewidths=min(1.0, pixel / 6),
    )  # fmt: skip
    return axes.scatter(
        x, y, s=diameter**2, c=doubt, cmap="plasma", vmin=0, vmax=1, linewidths=0
    )  # fmt: skip
