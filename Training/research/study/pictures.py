"""Pictures of what a model does: its points and gates on one image, its scores on many.

``K`` gates; slices are (J, I) in array order.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.images.imagechecks import check_is_intensity_image, check_values
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import prepare_scan
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.report import modality_warning, view_warning
from MorseCore.inference.sliding_window import window_to_source
from MorseCore.inference.stitching import crop_window, lay_windows
from MorseCore.points import grid_coords
from MorseCore.result import Segmentation
from MorseCore.training.validation import STAGES
from Training.research.shared.output import new_figure, save_figure
from Training.research.shared.scores import Cases

__all__ = ["GateMaps", "draw_gates", "draw_points", "draw_scores", "gate_maps", "slices_to_show"]

log = logging.getLogger(__name__)

_MARGIN = 6  # voxels around the structures
_WIDTH = 4.2  # inches of a panel
_MEASURES = (("dice", "DSC"), ("hd95", "HD95 in mm"))


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
    foreground = (result.coarse > 0) | (result.refined > 0)
    axis, slices = slices_to_show(foreground)
    rest = [n for n in range(3) if n != axis]
    box = _box(np.take(foreground, slices, axis=axis), rest)
    spacing = volume.geometry.spacing[::-1]
    aspect = spacing[rest[0]] / spacing[rest[1]]
    height, width = (s.stop - s.start for s in box)
    ratio = aspect * height / width
    figure = new_figure(_WIDTH * len(slices) + 1.2, 2 * _WIDTH * ratio + 0.8)
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
    save_figure(figure, path, dpi=130)


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


@dataclass(frozen=True, eq=False)
class GateMaps:
    """Of one slice of one window, at the model's spacing."""

    image: np.ndarray
    """(J, I), normalised."""
    labels: np.ndarray
    """(J, I), the coarse answer."""
    gates: np.ndarray
    """(K, J, I) float32; they sum to one at every pixel."""
    aspect: float
    """Height of a pixel over its width."""


@torch.inference_mode()
def gate_maps(predictor: VolumePredictor, volume: Volume) -> GateMaps:
    """The gates on the slice with most foreground, by the coarse answer, of all windows.

    :raises ConfigError: if the model's head has no gates.
    :raises ImageError: if the volume is no scan (constant, a label map, nothing but NaN).
    """
    check_is_intensity_image(volume)
    check_values(volume, predictor.info.preparation, is_region=False)
    for text in (view_warning(volume, predictor.info), modality_warning(volume, predictor.info)):
        if text:
            log.warning(text)
    preparation, device = predictor.info.preparation, predictor.device
    window = preparation.window_size
    array, geometry = prepare_scan(volume, preparation)
    aspect = geometry.spacing[1] / geometry.spacing[0]
    best: tuple[int, GateMaps | None] = (-1, None)
    for layer in [array] if len(window) == 3 else list(array):
        image = torch.from_numpy(np.ascontiguousarray(layer))
        box, starts = lay_windows(image.shape, window, overlap=0)
        for start in starts:
            begin = [a - b for a, b in zip(start, box[0], strict=True)]
            crop = crop_window(image, begin, window)[None, None]
            place = window_to_source(box, start, window)[None]
            inner = tuple(slice(max(a - s, 0), b - s) for a, b, s in zip(*box, start, strict=True))
            field = predictor.network(crop.to(device), to_source=place.to(device))
            axes = [axis[part] for axis, part in zip(field.pixels(), inner, strict=True)]
            labels = field.coarse_grid(axes)[0].argmax(0).cpu().numpy()
            counts = (labels > 0).sum((-2, -1))
            if counts.max() > best[0]:
                maps = _slice(field, axes, crop[0, 0][inner].numpy(), labels, aspect)
                if maps is None:
                    raise ConfigError(f"The head of '{predictor.info.name}' has no gates to draw.")
                best = int(counts.max()), maps
    assert best[1] is not None  # every image has a window, and each counts more than -1
    return best[1]


def _slice(
    field: Field, axes: list[torch.Tensor], image: np.ndarray, labels: np.ndarray, aspect: float
) -> GateMaps | None:
    """The gates of a window's slice with most foreground; None if the field has none.

    :param axes: of the pixels that ``image`` and ``labels`` hold; without the padding.
    """
    if labels.ndim == 3:
        middle = int((labels > 0).sum((1, 2)).argmax())
        axes[0] = axes[0][middle : middle + 1]
        image, labels = image[middle], labels[middle]
    gates = field.gates(grid_coords(axes).to(field.device))
    if gates is None:
        return None
    values = gates[0].T.float().cpu().numpy().reshape(-1, *image.shape)
    return GateMaps(image, labels, values, aspect)


def draw_gates(maps: GateMaps, path: Path) -> None:
    """The slice, then one map a gate, all on one scale from 0, with the outline of the masks."""
    count = len(maps.gates) + 1
    ratio = maps.aspect * maps.image.shape[0] / maps.image.shape[1]
    figure = new_figure(2.6 * count + 0.8, 2.6 * ratio + 0.5)
    panels = figure.subplots(1, count)
    panels[0].imshow(maps.image, cmap="gray", origin="lower", aspect=maps.aspect)
    panels[0].set_title("image", fontsize=10)
    # One scale for all: 1 learner of 5 with a fifth of every pixel is to look like the others.
    top = float(maps.gates.max())
    shades = None
    for n, (axes, gate) in enumerate(zip(panels[1:], maps.gates, strict=True), start=1):
        shades = axes.imshow(
            gate, cmap="viridis", vmin=0, vmax=top, origin="lower", aspect=maps.aspect
        )
        axes.set_title(f"gate {n}: mean {gate.mean():.2f}", fontsize=10)
    for axes in panels:
        axes.set_axis_off()
        for value in np.unique(maps.labels[maps.labels > 0]):
            axes.contour(maps.labels == value, levels=[0.5], colors="white", linewidths=0.8)
    figure.colorbar(shades, ax=panels, fraction=0.02, pad=0.01).set_label("share of the pixel")
    save_figure(figure, path, dpi=130)


def draw_scores(cases: Cases, names: Mapping[int, str], path: Path) -> None:
    """DSC and HD95 of every case as a line from the coarse to the refined mask, by structure.

    :param names: of the structures, by label.
    :raises OutputError: if it cannot be written.
    """
    labels = sorted({label for stages in cases.values() for label in stages["refined"].structures})
    figure = new_figure(2 + 1.4 * len(labels), 6)
    for axes, (measure, title) in zip(figure.subplots(len(_MEASURES), 1), _MEASURES, strict=True):
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
