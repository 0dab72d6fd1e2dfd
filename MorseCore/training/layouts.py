"""Which images and label maps a ``dataset.json`` means: three ways to write one.

- Medical Segmentation Decathlon: lists under ``training``, ``test`` and ``test_labels``;
- nnU-Net v2: no list, but ``file_ending`` and the folders ``imagesTr``, ``labelsTr``, ``imagesTs``,
  ``labelsTs``, where the image of case NAME is ``NAME_0000``;
- nnU-Net v2 with a ``dataset`` that names image and label of each case.

Several channels are the files ``NAME_0000``, ``NAME_0001`` …, a list of images, or one file with a
fourth axis, which then stands for each of them.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import exists, isfile
from pathlib import Path
from typing import Any

from MorseCore.errors import DatasetError
from MorseCore.images.names import channel_paths, name_without_suffix

__all__ = ["Case", "channels_of", "check_channel_files", "is_dataset", "list_cases"]

log = logging.getLogger(__name__)
_KEYS = ("training", "test_labels", "file_ending", "dataset")


@dataclass(frozen=True)
class Case:
    """One image with its label map."""

    name: str
    image: Path
    """The first channel's file."""
    label: Path
    unannotated: tuple[str, ...] = ()
    """Structures that were not drawn in it, and may be there all the same."""
    others: tuple[Path, ...] = ()
    """The files of its further channels (:mod:`MorseCore.images.channels`)."""

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of all channels."""
        return (self.image, *self.others)


def is_dataset(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object may be a ``dataset.json``."""
    return any(key in data for key in _KEYS)


def list_cases(data: Mapping[str, Any], dataset: Path) -> list[Case]:
    """All cases that have a label.

    :param dataset: path of the ``dataset.json``, beside which the files lie.
    :raises DatasetError: if it is written otherwise, names a case twice, or a case has not the
        channels that it names.
    """
    count = len(channels_of(data)) or 1
    named = data.get("dataset")
    if isinstance(named, dict):
        cases = list(_named(named, dataset, count))
    elif "file_ending" in data and "training" not in data:
        cases = list(_in_folders(str(data["file_ending"]), dataset.parent, count))
    else:
        cases = list(_listed(data, dataset, count))
    if not cases:
        raise DatasetError(f"'{dataset}' lists no image with a label.")
    names: set[str] = set()
    for case in cases:
        if case.name in names:
            raise DatasetError(f"'{dataset}' lists the case '{case.name}' twice.")
        names.add(case.name)
    return cases


def channels_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that a ``dataset.json`` names, in order; empty if there is one.

    :raises DatasetError: if two have one name, or one has none.
    """
    named = data.get("channel_names") or data.get("modality")
    if not isinstance(named, dict) or len(named) < 2:
        return ()
    names = [str(named[key]) for key in sorted(named, key=lambda key: (len(key), key))]
    if len(set(names)) < len(names) or not all(map(str.strip, names)):
        raise DatasetError(
            f"The channels must have names that differ; found {', '.join(map(repr, names))}."
        )
    return tuple(names)


def check_channel_files(case: str, images: tuple[Path, ...], names: tuple[str, ...]) -> None:
    """:raises DatasetError: naming the channel whose file is not there."""
    for n, path in enumerate(images):
        if not exists(path):
            which = f"its channel '{names[n]}'" if len(images) > 1 else "its file"
            raise DatasetError(f"The case '{case}' lacks {which}, '{path}'.")


def _listed(data: Mapping[str, Any], dataset: Path, count: int) -> Iterator[Case]:
    entries, tests, labels = (data.get(key, []) for key in ("training", "test", "test_labels"))
    if not all(isinstance(value, list) for value in (entries, tests, labels)):
        raise DatasetError(f"'{dataset}': 'training', 'test' and 'test_labels' must be lists.")
    if labels and len(tests) != len(labels):  # MSD's own test images come without labels
        raise DatasetError(
            f"'{dataset}' lists {len(tests)} test images, but {len(labels)} test labels."
        )
    pairs = [{"image": a, "label": b} for a, b in zip(tests, labels, strict=False)]
    for entry in [*entries, *pairs]:
        entry = entry if isinstance(entry, dict) else {}
        listed = entry.get("image")
        paths: list[Any] = listed if isinstance(listed, list) else [listed]
        label: Any = entry.get("label")
        if not paths or not all(isinstance(path, str) for path in [*paths, label]):
            raise DatasetError(f"'{dataset}': every case needs an 'image' and a 'label' path.")
        image = dataset.parent / paths[0]
        if image.name.startswith("._"):
            log.warning("%s is a companion file that macOS made; it is left out", image.name)
            continue
        name = str(entry.get("name", name_without_suffix(image.name)))
        images = [dataset.parent / path for path in paths]
        if len(images) == 1:  # nnU-Net v1 lists the name that the channels' files have in common
            images = [image] * count if isfile(image) else list(channel_paths(image, count))
        unannotated = tuple(map(str, entry.get("unannotated", [])))
        yield _case(name, images, dataset.parent / label, count, dataset, unannotated)


def _case(
    name: str, images: list[Path], label: Path, count: int, dataset: Path,
    unannotated: tuple[str, ...] = (),
) -> Case:  # fmt: skip
    if len(images) != count:
        raise DatasetError(
            f"'{dataset}': the case '{name}' has {len(images)} images, and the data set {count} "
            "channel(s); 'channel_names' names them all."
        )
    return Case(name, images[0], label, unannotated, tuple(images[1:]))


def _in_folders(ending: str, folder: Path, count: int) -> Iterator[Case]:
    for part in ("Tr", "Ts"):
        for label in sorted((folder / f"labels{part}").glob(f"*{ending}")):
            name = label.name[: -len(ending)]
            if not name.startswith("."):
                first, *others = (
                    folder / f"images{part}" / f"{name}_{n:04d}{ending}" for n in range(count)
                )
                yield Case(name, first, label, others=tuple(others))


def _named(cases: Mapping[str, Any], dataset: Path, count: int) -> Iterator[Case]:
    for name, entry in sorted(cases.items()):
        images = entry.get("images") if isinstance(entry, dict) else None
        if not (isinstance(images, list) and images and isinstance(entry.get("label"), str)):
            raise DatasetError(f"'{dataset}': the case '{name}' needs 'images' and a 'label'.")
        paths = [dataset.parent / str(image) for image in images]
        yield _case(name, paths, dataset.parent / entry["label"], count, dataset)
