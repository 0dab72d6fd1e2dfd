"""A data set in the Medical Segmentation Decathlon layout, checked before anything is trained.

``dataset.json`` names images and labels (its paths count, folder names do not) and the classes; a
split file names the cases: ``{"train": [...], "val": [...], "test": [...]}``, or a list of such
objects, one a fold (as nnU-Net writes them).
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from MorseCore.config import MAX_JSON_BYTES, check_is_plain, nearest, read_json
from MorseCore.errors import ConfigError, DatasetError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.channels import read_channels
from MorseCore.images.contents import voxel_digest
from MorseCore.images.grids import canonical_geometry, to_model_grid
from MorseCore.images.imagechecks import check_missing, check_spacing
from MorseCore.images.imageio import ReadOptions, Volume, read_volume
from MorseCore.images.preparation import Preparation, prepare_scan
from MorseCore.images.voxelvalues import measure_range
from MorseCore.limits import check_depth
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.training.layouts import Case, channels_of, check_channel_files, list_cases

__all__ = [
    "Case",
    "Decathlon",
    "DrawnLabels",
    "PreparedCase",
    "absent_labels",
    "check_shared",
    "choose_fold",
    "named_labels",
    "open_dataset",
    "prepare_case",
    "read_case",
]

log = logging.getLogger(__name__)
_PARTS = ("train", "val", "test")
_MOST_CLASSES = 256  # label maps are held as uint8


@dataclass(frozen=True)
class Decathlon:
    """The cases of a data set by split, and its classes."""

    name: str
    licence: str
    labels: dict[int, str]
    """Value -> name, background (0) included, values 0 … C-1 without a gap."""
    splits: dict[str, tuple[Case, ...]]
    """``train``, ``val`` and ``test``; each may be empty, ``train`` only if nothing is trained."""
    channels: tuple[str, ...] = ()
    """Names of the images of a case, where there are several."""

    @property
    def num_classes(self) -> int:
        """C, background included; one more than the largest label."""
        return max(self.labels) + 1

    def values_of(self, names: Sequence[str]) -> tuple[int, ...]:
        """The labels of structures."""
        return tuple(value for value, name in self.labels.items() if name in names)


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case on the model's grid, in array order (K, J, I)."""

    name: str
    image: np.ndarray
    """float32, normalised; (C, K, J, I) of several channels."""
    labels: np.ndarray
    """uint8."""
    spacing: tuple[float, float, float]
    """mm along the array's axes, (K, J, I)."""
    drawn: "DrawnLabels | None" = None
    """The label map as it was drawn, where the model's grid has other voxels."""
    digest: str = ""
    """Of the image's voxels (the first channel's) as they lie in the file, see
    :func:`voxel_digest`; empty for an image of one value, of which a data set of slices has many.
    """
    unannotated: tuple[int, ...] = ()
    """Labels that were not drawn, and may be there all the same."""


@dataclass(frozen=True, eq=False)
class DrawnLabels:
    """What masks are scored against: the label map on the scan's own grid."""

    labels: np.ndarray
    """(K, J, I) uint8."""
    geometry: Geometry
    model_geometry: Geometry
    """The grid that the model sees."""


class Shown(Protocol):
    """An image, or a label map, of a split."""

    @property
    def name(self) -> str:
        """Of the case."""

    @property
    def digest(self) -> str:
        """Of what it shows."""


def open_dataset(
    dataset: Path,
    split: Path | None,
    *,
    fold: int = 0,
    may_lack_training: bool = False,
    may_skip_numbers: bool = False,
) -> Decathlon:
    """Read ``dataset.json`` and a split file.

    :param split: None if there is none: then all cases are of the test split, and none is trained.
    :param fold: which entry of a split file that holds a list of folds.
    :param may_lack_training: for a data set that is only scored.
    :param may_skip_numbers: so too, if its labels are named one by one.
    :raises DatasetError: if a file is missing, a split names an unknown case, a case lies in two
        splits, or the classes are not numbered 0, 1, 2 ….
    """
    if not isfile(dataset):
        raise DatasetError(
            f"The data set's file '{dataset}' does not exist (looked for from '{Path.cwd()}'); "
            "'data.dataset' and 'data.split' of the configuration name another."
        )
    data = _read(dataset)
    labels = named_labels(data, dataset, may_skip=may_skip_numbers)
    cases = {case.name: case for case in list_cases(data, dataset)}
    if split is None:
        splits: dict[str, tuple[Case, ...]] = dict.fromkeys(_PARTS, ())
        splits["test"] = tuple(cases.values())
    else:
        splits = _splits(choose_fold(split, fold), cases, split)
        if not (splits["train"] or may_lack_training):
            raise DatasetError(f"The split '{split}' holds no training case.")
    channels = channels_of(data)
    for case in (case for part in splits.values() for case in part):
        check_channel_files(case.name, case.images, channels)
        if not isfile(case.label):
            raise DatasetError(f"The case '{case.name}' lacks its file '{case.label}'.")
    _check_annotated(splits, labels)
    return Decathlon(
        str(data.get("name", dataset.parent.name)), str(data.get("licence", "not stated")),
        labels, splits, channels,
    )  # fmt: skip


def _check_annotated(splits: Mapping[str, Sequence[Case]], labels: Mapping[int, str]) -> None:
    """Refuse to measure by cases in which a structure was not drawn, and unknown structures."""
    for part, cases in splits.items():
        for case in cases:
            for name in case.unannotated:
                if name not in labels.values():
                    raise DatasetError(
                        f"The case '{case.name}' is said to lack '{name}', which is no label of "
                        f"the data set{nearest(name, labels.values())}."
                    )
                if part != "train":
                    raise DatasetError(
                        f"The case '{case.name}' of '{part}' is not annotated for '{name}' and "
                        "cannot be scored; put it into 'train'."
                    )


def absent_labels(cases: Sequence[PreparedCase], *, num_classes: int) -> list[int]:
    """Foreground values that no case holds: nothing can be learned of them."""
    counts = np.zeros(num_classes, np.int64)
    for case in cases:
        counts += np.bincount(case.labels.ravel(), minlength=num_classes)
    return [value for value in range(1, num_classes) if not counts[value]]


def read_case(
    case: Case, *, num_classes: int, accepted: Acceptance = NOTHING
) -> tuple[Volume, Volume]:
    """Image and label map of a case, as they lie in their files.

    :param accepted: refusals to overrule, as when an image is segmented.
    :raises DatasetError: if they cannot be read or do not lie on one grid, the label map holds
        something else than whole numbers 0 … C-1, more than half of the image has no value, or a
        volume has one value everywhere.
    """
    options = ReadOptions(accepted=accepted)
    with _named(case):
        image, label = read_channels(case.images, options), read_volume(case.label, options)
    if not image.geometry.is_close(label.geometry):
        raise DatasetError(
            f"Case '{case.name}': the image has {image.geometry.shape} voxels of "
            f"{image.geometry.spacing} mm, its label map {label.geometry.shape} of "
            f"{label.geometry.spacing} mm, or they lie apart."
        )
    _check_labels(case.name, label.array, num_classes)
    for channel in image.channels:
        found = measure_range(channel.array)
        with _named(case):
            check_missing(found, accepted, where=f"{channel.source}:")
        # A picture may be a black slice from the end of a volume; a volume is then broken.
        if image.ndim == 3 and found.is_constant:
            which = f" '{channel.source}'" if image.others else ""
            raise DatasetError(
                f"Case '{case.name}': every voxel of the image{which} has one value."
            )
    return image, label


def prepare_case(
    case: Case, preparation: Preparation, *, num_classes: int, accepted: Acceptance = NOTHING
) -> PreparedCase:
    """Read a case and bring it to the model's grid.

    :raises DatasetError: as :func:`read_case`; or if its voxels are of another scale than the
        model's.
    """
    image, label = read_case(case, num_classes=num_classes, accepted=accepted)
    dims, spacing = preparation.spatial_dims, preparation.spacing_xyz
    with _named(case):
        check_spacing(image, preparation, accepted)
        array, geometry = prepare_scan(image, preparation)
    labels = _labels_on_grid(label, spacing=spacing, spatial_dims=dims)
    if labels.shape != array.shape[-3:]:
        raise DatasetError(f"Case '{case.name}': image and label map differ after resampling.")
    drawn = None
    if not geometry.is_close(canonical_geometry(image.geometry, spatial_dims=dims)):
        drawn = DrawnLabels(label.array.astype(np.uint8), image.geometry, geometry)
    is_constant = measure_range(image.array).is_constant
    digest = "" if is_constant else voxel_digest(image)
    return PreparedCase(case.name, array, labels, geometry.spacing[::-1], drawn, digest)


def check_shared(
    train: Sequence[Shown], others: Mapping[str, Sequence[Shown]], accepted: Acceptance = NOTHING
) -> None:
    """Refuse to measure a network by images that it learns from: copies, under whatever name.

    :param train: what is learned from.
    :param others: split -> what it is measured by.
    :param accepted: refusals to overrule (``shared-images``).
    :raises DatasetError: naming two cases of one image.
    """
    names: dict[str, str] = {}
    for case in train:
        if case.digest and case.digest in names:
            log.warning("'%s' and '%s' of 'train' show one image", names[case.digest], case.name)
        names.setdefault(case.digest, case.name)
    shared = [
        (part, case) for part, cases in others.items() for case in cases
        if case.digest and case.digest in names
    ]  # fmt: skip
    if shared:
        part, case = shared[0]
        more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
        error = DatasetError(
            f"'{case.name}' of '{part}' shows the same image as '{names[case.digest]}' of "
            f"'train'{more}: figures on it would be too good; take it out of one of the two"
        )
        accepted.refuse("shared-images", error)


@contextmanager
def _named(case: Case) -> Iterator[None]:
    """An error about a file names its case."""
    try:
        yield
    except MorseError as error:
        raise DatasetError(f"Case '{case.name}': {error}") from error


def _labels_on_grid(label: Volume, *, spacing: Any, spatial_dims: int) -> np.ndarray:
    """The label map on the model's grid: each class interpolated, the largest wins."""
    best = np.zeros(0, np.float32)
    result = np.zeros(0, np.uint8)
    for value in sorted({0, *np.unique(label.array).astype(int).tolist()}):
        mask = Volume(
            (label.array == value).astype(np.float32), label.geometry, label.source, label.ndim
        )
        share, _ = to_model_grid(mask, spacing=spacing, spatial_dims=spatial_dims)
        if value == 0:
            best, result = share, np.zeros(share.shape, np.uint8)
        else:
            wins = share > best
            best, result = np.where(wins, share, best), np.where(wins, np.uint8(value), result)
    return result


def _check_labels(name: str, labels: np.ndarray, num_classes: int) -> None:
    if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
        raise DatasetError(f"Case '{name}': the label map holds values that are not whole numbers.")
    low, high = labels.min(), labels.max()
    if low < 0 or high >= num_classes:
        raise DatasetError(
            f"Case '{name}': labels must lie between 0 and {num_classes - 1}; "
            f"found {low:g} to {high:g}."
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ConfigError as error:
        raise DatasetError(str(error)) from None


def choose_fold(split: Path, fold: int) -> dict[str, Any]:
    """One split of a file.

    :raises DatasetError: if the file cannot be read, or has no such fold.
    """
    data = _read_split(split)
    if isinstance(data, list):
        if not 0 <= fold < len(data):
            raise DatasetError(f"'{split}' has {len(data)} folds, counted from 0; found {fold}.")
        data = data[fold]
    elif fold:
        raise DatasetError(f"'{split}' holds one split, no list of folds; found fold {fold}.")
    if not isinstance(data, dict):
        raise DatasetError(f"'{split}' must hold 'train' and 'val' lists of case names.")
    return data


def _read_split(split: Path) -> Any:
    try:
        check_is_plain(split)
        if split.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("it is too large to be one.")
        data = json.loads(split.read_text(encoding="utf-8"))
        check_depth(data, "it")
    except RecursionError:
        raise DatasetError(f"The split file '{split}' is nested too deeply.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"The split file '{split}' cannot be read: {error}") from None
    return data


def _splits(
    chosen: dict[str, Any], cases: dict[str, Case], split: Path
) -> dict[str, tuple[Case, ...]]:
    for key, value in chosen.items():  # a note or a seed may stand there, but no misspelt split
        if key not in _PARTS and isinstance(value, list):
            raise DatasetError(
                f"'{split}' has the unknown split '{key}'{nearest(key, _PARTS)}; "
                f"known are {', '.join(_PARTS)}."
            )
    owner: dict[str, str] = {}
    splits: dict[str, tuple[Case, ...]] = {}
    for part in _PARTS:
        names = chosen.get(part, [])
        if not isinstance(names, list):
            raise DatasetError(f"'{part}' in '{split}' must be a list of case names.")
        for name in map(str, names):
            if name not in cases:
                raise DatasetError(
                    f"The split '{split}' names the case '{name}', which the data set does not "
                    f"have with a label{nearest(name, cases)}."
                )
            if name in owner:
                twice = "twice in" if owner[name] == part else f"in '{owner[name]}' and in"
                raise DatasetError(f"The case '{name}' is {twice} '{part}' of '{split}'.")
            owner[name] = part
        splits[part] = tuple(cases[str(name)] for name in names)
    return splits


def named_labels(data: dict[str, Any], dataset: Path, *, may_skip: bool) -> dict[int, str]:
    """Value -> name of the labels that a ``dataset.json`` names, in either of its two ways.

    :param may_skip: whether numbers may be left out.
    :raises DatasetError: if they are named otherwise.
    """
    labels = data.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f"'{dataset}' names no labels.")
    pairs = list(labels.items())
    if not all(str(key).isdecimal() for key in labels):  # nnU-Net turns the table round
        pairs = [(value, key) for key, value in pairs]
    named = {int(n): str(name) for n, name in pairs if str(n).isdecimal() and len(str(n)) < 10}
    is_whole = may_skip or sorted(named) == list(range(len(named)))
    if len(named) != len(pairs) or 0 not in named or not is_whole or len(named) < 2:
        raise DatasetError(
            f"'{dataset}' must number its labels 0 (background), 1, 2 …, each once; "
            f"found {', '.join(str(n)[:12] for n, _ in pairs[:20])}."
        )
    if max(named) >= _MOST_CLASSES:
        raise DatasetError(
            f"'{dataset}' has labels up to {max(named)}; at most {_MOST_CLASSES - 1} fits."
        )
    return dict(sorted(named.items()))
