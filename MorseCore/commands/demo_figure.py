"""The demo's figure: pictures side by side, over a table of what the rendering changed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.errors import ConfigError
from MorseCore.images.imageio import Volume
from MorseCore.result import Segmentation
from MorseCore.system.files import atomic_path

__all__ = ["compose_figure", "draw_slices"]

_DARK = "#101418"
_AXES = (("axial", 0), ("coronal", 1), ("sagittal", 2))


def compose_figure(pictures: Sequence[Path], result: Segmentation, path: Path) -> Path:
    """Write a PNG of all pictures in a row with the table of changes under them."""
    plt = _pyplot()
    figure = plt.figure(figsize=(5 * len(pictures), 6.6) if len(pictures) > 1 else (15, 7.2))
    figure.patch.set_facecolor("white")
    rows = figure.add_gridspec(2, len(pictures), height_ratios=[5, 1.3], hspace=0.05, wspace=0.02)
    for n, picture in enumerate(pictures):
        axes = figure.add_subplot(rows[0, n])
        axes.imshow(plt.imread(picture))
        axes.set_axis_off()
    axes = figure.add_subplot(rows[1, :])
    axes.set_axis_off()
    colors = {structure.name: structure.color for structure in result.structures}
    _add_table(axes, result.report["structures"], colors)
    changed = int(result.points.changed.sum())
    figure.suptitle(
        f"Coarse outline, refined fill, and {len(result.points)} points rendered again: "
        f"{changed} of them got another label",
        fontsize=13, y=0.92,
    )  # fmt: skip
    return _save(figure, path)


def draw_slices(volume: Volume, result: Segmentation, path: Path) -> Path:
    """Three slices through the structures, without OpenGL: fill, outline and points."""
    plt = _pyplot()
    masks = (result.refined > 0) | (result.coarse > 0)
    middle, low, high = _extent(masks)
    figure, panels = plt.subplots(1, 3, figsize=(15, 5.4), facecolor=_DARK)
    points = result.points.indices[:, ::-1]  # (P, 3) in order (k, j, i)
    spacing = volume.geometry.spacing[::-1]
    shades = None
    for axes, (name, axis) in zip(panels, _AXES, strict=True):
        rest = [n for n in range(3) if n != axis]
        box = tuple(slice(low[n], high[n]) for n in rest)
        bounds = [low[rest[1]] - 0.5, high[rest[1]] - 0.5, low[rest[0]] - 0.5, high[rest[0]] - 0.5]
        image, coarse, refined = (
            np.take(x, middle[axis], axis=axis)[box]
            for x in (volume.array, result.coarse, result.refined)
        )
        axes.imshow(image, cmap="gray", origin="lower", extent=bounds)
        for structure in result.structures:
            fill = np.zeros((*refined.shape, 4))
            fill[refined == structure.value] = (*structure.color, 0.35)
            axes.imshow(fill, origin="lower", extent=bounds)
            outline = (coarse == structure.value).astype(float)
            if outline.any():
                axes.contour(
                    outline, levels=[0.5], colors=[structure.color], extent=bounds, linewidths=1.5
                )
        here = points[:, axis] == middle[axis]
        shades = axes.scatter(
            points[here][:, rest[1]], points[here][:, rest[0]], s=7, cmap="plasma_r",
            c=result.points.uncertainty[here], vmin=0, vmax=1,
        )  # fmt: skip
        axes.set_title(name, color="white")
        _add_sides(axes, volume, rest[1])
        axes.set_aspect(spacing[rest[0]] / spacing[rest[1]])
        axes.set_axis_off()
    if shades is not None:
        bar = figure.colorbar(shades, ax=panels, fraction=0.02, pad=0.01)
        bar.set_label("uncertainty", color="white")
        bar.ax.tick_params(colors="white")
    return _save(figure, path)


def _add_sides(axes: Any, volume: Volume, axis: int) -> None:
    """The letters L and R where a picture's horizontal axis (of K, J, I) runs from side to side."""
    direction = volume.geometry.direction[:, 2 - axis]
    if np.abs(direction).argmax() != 0:
        return
    letters = ("L", "R") if direction[0] > 0 else ("R", "L")
    for place, letter in zip((0.02, 0.94), letters, strict=True):
        axes.text(place, 0.02, letter, color="white", fontsize=14, transform=axes.transAxes)


def _extent(masks: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Slice with most foreground per axis, and the box to show, (K, J, I)."""
    middle, low, high = [], [], []
    for axis in range(3):
        profile = masks.sum(axis=tuple(n for n in range(3) if n != axis))
        used = np.flatnonzero(profile) if profile.any() else np.arange(len(profile))
        middle.append(int(profile.argmax()) if profile.any() else len(profile) // 2)
        low.append(max(0, int(used[0]) - 12))
        high.append(min(len(profile), int(used[-1]) + 13))
    return middle, low, high


def _add_table(
    axes: Any, rows: Sequence[dict[str, Any]], colors: Mapping[str, tuple[float, float, float]]
) -> None:
    """The changes; a structure's name stands on its colour, which is the pictures' legend."""
    cells = [
        [
            row["name"], f"{row['coarse_ml']:.2f}", f"{row['refined_ml']:.2f}",
            f"{row['change_ml']:+.3f}", str(row["added_voxels"]), str(row["removed_voxels"]),
            f"{row['shift_mean_mm']:.3f}", f"{row['shift_p95_mm']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    head = [
        "structure", "coarse ml", "refined ml", "change ml", "voxels added", "removed",
        "shift mm, mean", "95 %",
    ]  # fmt: skip
    widths = [0.23, *[0.11] * (len(head) - 1)]  # names are the longest
    table = axes.table(
        cellText=cells, colLabels=head, loc="center", cellLoc="center", colWidths=widths
    )
    table.auto_set_font_size(False)
    table.set_fontsize(11)
    table.scale(1, 1.6)
    for line, row in enumerate(rows, start=1):
        table[line, 0].set_facecolor((*colors[row["name"]], 0.5))


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("The figure needs matplotlib: pip install -e '.[demo]'.") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight", facecolor=figure.get_facecolor())
    _pyplot().close(figure)
    return path
