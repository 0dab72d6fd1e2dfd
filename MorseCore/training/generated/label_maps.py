"""Label maps from files: found, checked, turned upright, and held as small as they go."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MorseCore.config import nearest, read_json
from MorseCore.errors import ConfigError, DatasetError, MorseError
from MorseCore.images.contents import voxel_digest
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.modelgrid import canonical_axes
from MorseCore.images.names import IMAGE_SUFFIXES, name_without_suffix
from MorseCore.training.dataset import choose_fold
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.label_table import LabelTable

__all__ = ["LabelMap", "MapFiles", "find_label_maps", "read_label_map", "table_for"]

log = logging.getLogger(__name__)
_EVERY = 5  # without a split file, every fifth map is for validation
_INNER = 0.005  # of the structures' voxels at either end are not looked at: specks far away
_MARGIN = 60.0  # mm around the structures that a window may show


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One label map, upright: axes (K, J, I) run towards S, A, R."""

    name: str
    entries: Tensor
    """(K, J, I) uint8, entries of the :class:`LabelTable`."""
    spacing: tuple[float, float, float]
    """mm along (K, J, I)."""
    box: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Lowest and highest voxel of the structures, without the outermost 0.5 %."""
    digest: str = ""
    """Of the file's voxels, see :func:`voxel_digest`."""

    def to(self, device: torch.device) -> "LabelMap":
        """On a device."""
        return replace(self, entries=self.entries.to(device))


@dataclass(frozen=True)
class MapFiles:
    """Label maps of a data set by split, and the names that it gives to their values."""

    train: dict[str, Path]
    val: dict[str, Path]
    names: dict[str, int]
    """Structure -> value, of a ``dataset.json``; empty for a mere folder."""


def find_label_maps(labels: Path, split: Path | None, *, fold: int = 0) -> MapFiles:
    """The files of a folder, one file, or those of a ``dataset.json``; images are not needed.

    :param split: ``{"train": [...], "val": [...]}``, or a list of such folds; None: every fifth
        map, in the order of their names, is for validation.
    :param fold: which of the list.
    :raises DatasetError: if there is none, a name is there twice, or the split names another.
    """
    if isdir(labels):
        visible = (p for p in sorted(labels.iterdir()) if not p.name.startswith("."))
        paths = _named(p for p in visible if p.name.lower().endswith(IMAGE_SUFFIXES))
        names: dict[str, int] = {}
    elif isfile(labels) and labels.name.lower().endswith(IMAGE_SUFFIXES):
        paths, names = _named([labels]), {}
    elif isfile(labels):
        paths, names = _listed(labels)
    else:
        raise DatasetError(
            f"'{labels}' does not exist (looked for from '{Path.cwd()}'); 'data.labels' names a "
            "folder of label maps or a dataset.json."
        )
    found: dict[str, Path] = {}
    for name, path in paths:
        if name in found:
            raise DatasetError(f"Two label maps are called '{name}': {found[name]} and {path}.")
        found[name] = path
    if not found:
        raise DatasetError(f"'{labels}' holds no label map.")
    train, val = _split(list(found), split, fold)
    return MapFiles({n: found[n] for n in train}, {n: found[n] for n in val}, names)


def table_for(
    files: MapFiles, options: GenerationConfig, *, pairs: Sequence[tuple[str, str]] = ()
) -> LabelTable:
    """The table that a configuration states; else the data set's own names; else all values found.

    :param pairs: left and right structures; empty: their names say it.
    :raises DatasetError: as :meth:`LabelTable.build`; or if a map cannot be read.
    """
    structures, drawn = options.structures, set(options.surroundings)
    if not structures and files.names:
        structures = {name: (v,) for name, v in files.names.items() if v not in drawn}
    if not structures:
        values: set[int] = set()
        for path in (files.train | files.val).values():
            values |= set(np.unique(_read(path).array).tolist())
        structures = {f"Label {v}": (v,) for v in sorted(values - {0, *drawn})}
    return LabelTable.build(
        structures, surroundings=options.surroundings, tissues=options.tissues, pairs=pairs,
        is_mirrored=options.drawn_from().mirror > 0,
    )  # fmt: skip


def read_label_map(name: str, path: Path, table: LabelTable) -> LabelMap:
    """Read a label map, and keep what windows can show of it.

    :raises DatasetError: if it cannot be read, is flat or empty, holds something else than whole
        numbers, a value that the table does not know, or one label alone.
    """
    volume = _read(path)
    known = np.asarray(table.values)
    values = np.unique(volume.array)
    unknown = [int(v) for v in values if v not in known]
    if unknown:
        raise DatasetError(
            f"The label map '{name}' holds the label {unknown[0]}"
            f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}, which is neither in "
            "'generation.structures' nor in 'generation.surroundings'."
        )
    if len(values) < 2:
        raise DatasetError(
            f"The label map '{name}' holds one value everywhere ({int(values[0])}); nothing can be "
            "drawn from it."
        )
    axes = canonical_axes(volume.geometry)
    entries = np.searchsorted(known, axes.apply(volume.array)).astype(np.uint8)
    found = np.asarray(table.classes, np.uint8)[entries] > 0
    if not found.any():
        raise DatasetError(f"The label map '{name}' holds no structure, only surroundings.")
    i, j, k = axes.geometry(volume.geometry).spacing
    trimmed = _trimmed(name, entries, found, (k, j, i))
    return replace(trimmed, digest=voxel_digest(volume))


def _trimmed(
    name: str, entries: np.ndarray, found: np.ndarray, spacing: tuple[float, float, float]
) -> LabelMap:
    """The map around its structures; a body below a head is never seen."""
    low, high, cut = [], [], []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        share = np.cumsum(found.sum(axis=others)) / found.sum()
        first = int(np.searchsorted(share, _INNER))
        last = int(np.searchsorted(share, 1 - _INNER))
        margin = round(_MARGIN / spacing[axis])
        begin, end = max(0, first - margin), min(found.shape[axis], last + 1 + margin)
        cut.append(slice(begin, end))
        low.append(float(first - begin))
        high.append(float(last - begin))
    part = np.ascontiguousarray(entries[tuple(cut)])
    box = ((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    return LabelMap(name, torch.from_numpy(part), spacing, box)


def _read(path: Path) -> Volume:
    name = name_without_suffix(path.name)
    try:
        volume = read_volume(path)
    except MorseError as error:
        raise DatasetError(f"The label map '{name}' cannot be read: {error}") from error
    if volume.ndim != 3 or min(volume.array.shape) < 2:
        raise DatasetError(f"The label map '{name}' is flat; images are generated from volumes.")
    array = volume.array
    if not np.isfinite(array).all() or (array != np.round(array)).any():
        raise DatasetError(f"The label map '{name}' holds values that are not whole numbers.")
    return volume


def _named(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    return [(name_without_suffix(path.name), path) for path in paths]


def _listed(dataset: Path) -> tuple[list[tuple[str, Path]], dict[str, int]]:
    """Label files by name, and the structures of a ``dataset.json``."""
    try:
        data = read_json(dataset)
    except ConfigError as error:
        raise DatasetError(str(error)) from None
    entries = data.get("training")
    if not isinstance(entries, list):
        raise DatasetError(f"'{dataset}' has no list 'training' of label maps.")
    paths = []
    for entry in entries:
        label = entry.get("label") if isinstance(entry, dict) else entry
        if not isinstance(label, str):
            raise DatasetError(f"'{dataset}': every entry of 'training' needs a 'label' path.")
        path = dataset.parent / label
        name = entry.get("name") if isinstance(entry, dict) else None
        paths.append((str(name or name_without_suffix(path.name)), path))
    return paths, _names(data.get("labels"), dataset)


def _names(labels: Any, dataset: Path) -> dict[str, int]:
    if not isinstance(labels, dict):
        raise DatasetError(f"'{dataset}' names no labels.")
    pairs = list(labels.items())
    if not all(str(key).isdecimal() for key in labels):  # nnU-Net turns the table round
        pairs = [(value, key) for key, value in pairs]
    names: dict[str, int] = {}
    for value, name in pairs:
        if not str(value).isdecimal() or str(name) in names:
            raise DatasetError(f"'{dataset}' must give each label one whole number and one name.")
        if int(value):
            names[str(name)] = int(value)
    return names


def _split(names: list[str], split: Path | None, fold: int) -> tuple[list[str], list[str]]:
    if split is None:
        if len(names) == 1:
            log.warning("there is one label map; it serves for training and for validation")
            return names, names
        val = names[_EVERY - 1 :: _EVERY] or names[-1:]
        return [name for name in names if name not in val], val
    data = choose_fold(split, fold)
    parts = []
    for part in ("train", "val"):
        chosen = data.get(part, [])
        if not isinstance(chosen, list):
            raise DatasetError(f"'{part}' in '{split}' must be a list of names.")
        for name in chosen:
            if name not in names:
                raise DatasetError(
                    f"'{split}' names the label map '{name}', which is not there"
                    f"{nearest(str(name), names)}."
                )
        parts.append([str(name) for name in chosen])
    if not parts[0]:
        raise DatasetError(f"The split '{split}' holds no training case.")
    if both := set(parts[0]) & set(parts[1]):
        raise DatasetError(f"The label map '{min(both)}' is in 'train' and in 'val' of '{split}'.")
    return parts[0], parts[1]
