"""Look before training: images generated from label maps, over the labels they were drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.config import decode, read_configuration
from MorseCore.errors import ConfigError
from MorseCore.images.preparation import Preparation
from MorseCore.system.files import atomic_path
from MorseCore.system.seeds import generator_for
from MorseCore.system.stage_clock import StageClock
from MorseCore.training.config import RunConfig
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.images import Generated, ImageGenerator
from MorseCore.training.generated.label_maps import (
    LabelMap,
    find_label_maps,
    read_label_map,
    table_for,
)
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.generated.ranges import Preset

__all__ = ["run_preview"]

_COLUMNS, _ROWS = 6, 4
_MAPS = 6  # so many of them are read: each takes a second
_AXES = ("axial", "coronal", "sagittal")
_LONGEST = 96  # pixels of the longest side, where no configuration states a window
_ROOM = 1.3  # how much larger than its structures a window is then


@dataclass(frozen=True)
class _Plan:
    """What is drawn from."""

    maps: Sequence[LabelMap]
    table: LabelTable
    preparation: Preparation
    options: GenerationConfig


def run_preview(labels: Path, output: Path, *, preset: Preset | None = None, seed: int = 0) -> int:
    """Draw 24 images into a picture and print what each stage takes; returns the exit code.

    :param labels: a folder of label maps, one of them, a ``dataset.json``, or a training's
        configuration.
    :param preset: of the ranges; None: the configuration's, else ``any``.
    :raises DatasetError: if a label map cannot be used.
    :raises ConfigError: if matplotlib is missing or a configuration is faulty.
    :raises OutputError: if the picture cannot be written.
    """
    plan = _plan(labels, preset)
    draw = ImageGenerator(plan.table, plan.preparation, plan.options)
    draw(plan.maps[0], generator_for(seed, "warm-up"))  # memory and threads; not timed
    clock = StageClock()
    made = [
        draw(plan.maps[n % len(plan.maps)], generator_for(seed, "preview", n), clock=clock)
        for n in range(_COLUMNS * _ROWS)
    ]
    times = {stage: 1000 * seconds / len(made) for stage, seconds in clock.seconds.items()}
    caption = ", ".join(f"{stage} {ms:.0f}" for stage, ms in times.items())
    size = " x ".join(map(str, plan.preparation.window))
    spacing = " x ".join(f"{mm:g}" for mm in plan.preparation.spacing or ())
    total = sum(times.values())
    caption = f"{size} pixels of {spacing} mm; ms an image: {caption}; all {total:.0f}"
    _draw_grid(made, plan.table.num_classes, draw.spacing, caption, output)
    print(f"{plan.table.num_classes - 1} structures, {len(plan.table.values)} labels")
    print(caption)
    print(f"picture: {output}")
    return 0


def _plan(labels: Path, preset: Preset | None) -> _Plan:
    config = _configuration(labels)
    if config is not None:
        options, source = config.generation, Path(config.data.labels or config.data.dataset)
        split, fold = Path(config.data.split) if config.data.split else None, config.data.fold
        pairs = config.augmentation.mirror_pairs
    else:
        options, source, split, fold, pairs = GenerationConfig(), labels, None, 0, ()
    if preset is not None:
        options = GenerationConfig(
            preset, options.ranges, options.structures, options.surroundings, options.tissues
        )
    files = find_label_maps(source, split, fold=fold)
    table = table_for(files, options, pairs=pairs)
    chosen = list((files.train | files.val).items())[:_MAPS]
    maps = [read_label_map(name, path, table) for name, path in chosen]
    preparation = _around(maps) if config is None else config.preparation
    return _Plan(maps, table, preparation, options)


def _configuration(path: Path) -> RunConfig | None:
    """The training's configuration, if the file is one."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    data = read_configuration(path)
    if "preparation" not in data:
        return None  # a dataset.json
    config = decode(RunConfig, data, "")
    if config.data.source != "generated" and not config.data.generated_share:
        raise ConfigError(
            f"'{path}' trains on scans, not on generated images; there is nothing to preview."
        )
    return config


def _around(maps: Sequence[LabelMap]) -> Preparation:
    """A window that shows the structures of all maps, as fine as they are if that is not large."""
    extents = np.array([
        [(b - a + 1) * mm for a, b, mm in zip(*part.box, part.spacing, strict=True)]
        for part in maps
    ])  # fmt: skip
    extent = _ROOM * extents.max(axis=0)
    finest = min(min(part.spacing) for part in maps)
    spacing = max(finest, float(extent.max()) / _LONGEST)
    k, j, i = (max(16, ceil(mm / spacing)) for mm in extent)
    return Preparation(
        window=(i, j, k), spacing=(spacing,) * 3, normalisation="percentile", percentiles=(1, 99)
    )


def _draw_grid(
    made: Sequence[Generated],
    classes: int,
    spacing: tuple[float, float, float],
    caption: str,
    output: Path,
) -> None:
    """Each image with its labels below; in turn an axial, a coronal and a sagittal slice."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("The picture needs matplotlib: pip install matplotlib.") from None
    figure = Figure(figsize=(2.2 * _COLUMNS, 4.5 * _ROWS), facecolor="black")
    panels = figure.subplots(2 * _ROWS, _COLUMNS)
    figure.subplots_adjust(0.005, 0.03, 0.995, 0.985, wspace=0.03, hspace=0.06)
    for n, one in enumerate(made):
        row, column = divmod(n, _COLUMNS)
        axis = n % 3
        place = _fullest(one, axis)
        rest = [mm for a, mm in enumerate(spacing) if a != axis]
        pair: list[tuple[Any, dict[str, Any]]] = [
            (one.image, {"cmap": "gray", "vmin": 0, "vmax": 1.1}),
            (one.labels, {"cmap": "nipy_spectral", "vmin": 0, "vmax": classes,
                          "interpolation": "nearest"}),
        ]  # fmt: skip
        for below, (values, style) in enumerate(pair):
            axes = panels[2 * row + below, column]
            axes.imshow(
                values.select(axis, place).cpu().numpy(), origin="lower",
                aspect=rest[0] / rest[1], **style,
            )  # fmt: skip
            axes.set_axis_off()
        panels[2 * row, column].set_title(_AXES[axis], color="0.6", fontsize=7, pad=2)
    figure.text(0.5, 0.01, caption, color="white", ha="center", fontsize=9)
    with atomic_path(output) as temporary:
        figure.savefig(temporary, dpi=90, format="png", facecolor="black")


def _fullest(one: Generated, axis: int) -> int:
    """The slice near the middle that holds most structures' pixels."""
    others = tuple(n for n in range(3) if n != axis)
    profile = (one.labels > 0).sum(dim=others).float()
    n = len(profile)
    profile[: n // 4] = profile[-(n // 4) :] = -1
    return int(profile.argmax())
