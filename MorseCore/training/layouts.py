"""Which images and label maps a ``dataset.json`` means: three ways to write one.

- Medical Segmentation Decathlon: lists under ``training``, ``test`` and ``test_labels``;
- nnU-Net v2: no list, but ``file_ending`` and the folders ``imagesTr``, ``labelsTr``, ``imagesTs``,
  ``labelsTs``, where the image of case NAME is ``NAME_0000``;
- nnU-Net v2 with a ``dataset`` that names image and label of each case.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

from MorseCore.errors import DatasetError
from MorseCore.images.names import name_without_suffix

__all__ = ["Case", "is_dataset", "list_cases"]

log = logging.getLogger(__name__)
_KEYS = ("training", "test_labels", "file_ending", "dataset")
_CHANNEL = "_0000"  # nnU-Net's ending of the first channel's file


@dataclass(frozen=True)
class Case:
    """One image with its label map."""

    name: str
    image: Path
    label: Path
    unannotated: tuple[str, ...] = ()
    """Structures that were not drawn in it, and may be there all the same."""


def is_dataset(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object may be a ``dataset.json``."""
    return any(key in data for key in _KEYS)


def list_cases(data: Mapping[str, Any], dataset: Path) -> list[Case]:
    """All cases that have a label.

    :param dataset: path of the ``dataset.json``, beside which the files lie.
    :raises DatasetError: if it is written otherwise, names a case twice, or has several channels.
    """
    channels = data.get("channel_names") or data.get("modality")
    if isinstance(channels, dict) and len(channels) > 1:
        raise DatasetError(f"'{dataset}' has {len(channels)} channels; images with one are read.")
    named = data.get("dataset")
    if isinstance(named, dict):
        cases = list(_named(named, dataset))
    elif "file_ending" in data and "training" not in data:
        cases = list(_in_folders(str(data["file_ending"]), dataset.parent))
    else:
        cases = list(_listed(data, dataset))
    if not cases:
        raise DatasetError(f"'{dataset}' lists no image with a label.")
    names: set[str] = set()
    for case in cases:
        if case.name in names:
            raise DatasetError(f"'{dataset}' lists the case '{case.name}' twice.")
        names.add(case.name)
    return cases


def _listed(data: Mapping[str, Any], dataset: Path) -> Iterator[Case]:
    entries, tests, labels = (data.get(key, []) for key in ("training", "test", "test_labels"))
    if not all(isinstance(value, list) for value in (entries, tests, labels)):
        raise DatasetError(f"'{dataset}': 'training', 'test' and 'test_labels' must be lists.")
    if labels and len(tests) != len(labels):  # MSD's own test images come without labels
        raise DatasetError(
            f"'{dataset}' lists {len(tests)} test images, but {len(labels)} test labels."
        )
    pairs = [{"image": a, "label": b} for a, b in zip(tests, labels, strict=False)]
    for entry in [*entries, *pairs]:
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(key), str) for key in ("image", "label")
        ):
            raise DatasetError(f"'{dataset}': every case needs an 'image' and a 'label' path.")
        image = dataset.parent / entry["image"]
        if image.name.startswith("._"):
            log.warning("%s is a companion file that macOS made; it is left out", image.name)
            continue
        name = name_without_suffix(image.name)
        image, label = _with_channel(image, name), dataset.parent / entry["label"]
        unannotated = tuple(map(str, entry.get("unannotated", [])))
        yield Case(str(entry.get("name", name)), image, label, unannotated)


def _with_channel(image: Path, name: str) -> Path:
    """nnU-Net v1 lists images without the channel that their files' names have."""
    other = image.with_name(f"{name}{_CHANNEL}{image.name[len(name) :]}")
    return other if not isfile(image) and isfile(other) else image


def _in_folders(ending: str, folder: Path) -> Iterator[Case]:
    for part in ("Tr", "Ts"):
        for label in sorted((folder / f"labels{part}").glob(f"*{ending}")):
            name = label.name[: -len(ending)]
            if not name.startswith("."):
                yield Case(name, folder / f"images{part}" / f"{name}{_CHANNEL}{ending}", label)


def _named(cases: Mapping[str, Any], dataset: Path) -> Iterator[Case]:
    for name, entry in sorted(cases.items()):
        images = entry.get("images") if isinstance(entry, dict) else None
        if not (isinstance(images, list) and images and isinstance(entry.get("label"), str)):
            raise DatasetError(f"'{dataset}': the case '{name}' needs 'images' and a 'label'.")
        if len(images) > 1:
            raise DatasetError(f"'{dataset}': the case '{name}' has {len(images)} images, not one.")
        yield Case(name, dataset.parent / str(images[0]), dataset.parent / entry["label"])
