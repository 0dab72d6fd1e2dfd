"""Writes the Decathlon layout: images, labels, dataset.json and splits.json."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from tqdm import tqdm

from MorseCore.errors import DatasetError, OutputError
from MorseCore.images.imageio import geometry_of
from MorseCore.images.itkpath import itk_path
from MorseCore.system.files import output_error, replace_patiently, write_json, write_text

__all__ = ["Pair", "PublicDataset", "read_image", "same_file", "write_dataset"]

Reader = Callable[[Path], SimpleITK.Image]
_LARGEST_LABEL = 255  # label maps are written as uint8


@dataclass(frozen=True)
class Pair:
    """One case as it was downloaded."""

    name: str
    image: Path
    label: Path
    subject: str
    """Cases of one subject stay in one split."""
    part: str = ""
    """``train``, ``val`` or ``test`` where the data set says; empty: drawn."""


@dataclass(frozen=True)
class PublicDataset:
    """A data set: where its cases are, and how a label becomes 0, 1, 2 …"""

    title: str
    licence: str
    reference: str
    modality: str
    labels: tuple[str, ...]
    """Names, background first."""
    suffix: str
    """Of the files written: ``.nii.gz`` or ``.png``."""
    find: Callable[[Path], list[Pair]]
    """The cases in a downloaded folder; an empty list if it is none."""
    to_image: Callable[[SimpleITK.Image], SimpleITK.Image]
    to_label: Callable[[SimpleITK.Image], SimpleITK.Image]
    proportions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of subjects, for train, val and test, where the data set does not say."""
    expected: str = ""
    """The folder's layout, for the message if nothing is found."""


def write_dataset(source: PublicDataset, folder: Path, output: Path, *, seed: int = 0) -> Path:
    """Convert a downloaded folder; the path of ``dataset.json``.

    A folder beside the output is written first and renamed at the end: all or nothing.

    :raises DatasetError: if the folder is not laid out as expected, or a case cannot be read.
    :raises OutputError: if the output is there already, or cannot be written.
    """
    if output.exists():
        raise OutputError(f"'{output}' is there already; name a folder that is not.")
    pairs = source.find(folder) if folder.is_dir() else []
    if not pairs:
        raise DatasetError(f"'{folder}' is not laid out as expected: {source.expected}.")
    temporary = output.with_name(f".tmp-{output.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for sub in ("images", "labels"):
            (temporary / sub).mkdir(parents=True)
        for pair in tqdm(pairs, unit="case"):
            _convert(source, pair, temporary)
        splits = draw_splits(pairs, source.proportions, seed=seed)
        write_json(temporary / "dataset.json", _describe(source, pairs, splits))
        write_json(temporary / "splits.json", splits)
        rows = [f"{pair.name},{pair.subject}" for pair in pairs]
        write_text(temporary / "cases.csv", "\n".join(["case,subject", *rows, ""]))
        replace_patiently(temporary, output)
    except OSError as error:
        raise output_error(output, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output / "dataset.json"


def draw_splits(
    pairs: Sequence[Pair], proportions: tuple[float, float, float], *, seed: int
) -> dict[str, list[str]]:
    """Names by part; subjects without a part are drawn by ``proportions``, each whole."""
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    subjects = sorted({pair.subject for pair in pairs if not pair.part})
    order = np.random.default_rng(seed).permutation(len(subjects))
    bounds = np.round(np.cumsum(proportions) / sum(proportions) * len(subjects)).astype(int)
    drawn = {subjects[n]: int(np.searchsorted(bounds, place, side="right"))
             for place, n in enumerate(order)}  # fmt: skip
    for pair in pairs:
        splits[pair.part or list(splits)[drawn[pair.subject]]].append(pair.name)
    return splits


def read_image(path: Path) -> SimpleITK.Image:
    """Read a file.

    :raises DatasetError: if it cannot be read.
    """
    if not path.is_file():
        raise DatasetError(f"There is no file '{path}'.")
    try:
        return SimpleITK.ReadImage(itk_path(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
        raise DatasetError(f"'{path}' cannot be read: {reason}") from None


def same_file(image: SimpleITK.Image) -> SimpleITK.Image:
    """The image unchanged."""
    return image


def _convert(source: PublicDataset, pair: Pair, folder: Path) -> None:
    image = source.to_image(read_image(pair.image))
    drawn = read_image(pair.label)
    _check_is_grey(source, pair.name, image, drawn)
    _check_is_label(pair.name, drawn)
    label = SimpleITK.Cast(source.to_label(drawn), SimpleITK.sitkUInt8)
    if image.GetSize() != label.GetSize():
        raise DatasetError(
            f"Case '{pair.name}': the image has {image.GetSize()} pixels, its label "
            f"{label.GetSize()}."
        )
    if source.suffix != ".png" and not geometry_of(image).is_close(geometry_of(label)):
        raise DatasetError(
            f"Case '{pair.name}': image and label have one size, but their spacing, directions or "
            "origins differ; one of them would be mirrored or shifted."
        )
    found = int(SimpleITK.GetArrayViewFromImage(label).max())
    if found >= len(source.labels):
        raise DatasetError(f"Case '{pair.name}' holds the label {found}, which is not known.")
    label.CopyInformation(image)  # pictures have none to lose; of scans it is the same
    for sub, data in (("images", image), ("labels", label)):
        path = folder / sub / f"{pair.name}{source.suffix}"
        try:
            SimpleITK.WriteImage(data, itk_path(path), useCompression=True)
        except RuntimeError as error:  # the disk is full, say
            reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
            raise OutputError(f"'{path.name}' cannot be written: {reason}") from None


def _check_is_grey(source: PublicDataset, name: str, *images: SimpleITK.Image) -> None:
    """Scans have one value a voxel; the colours of photographs become grey."""
    counts = [image.GetNumberOfComponentsPerPixel() for image in images]
    if source.suffix != ".png" and max(counts) > 1:
        raise DatasetError(
            f"Case '{name}': one value a voxel is expected; image and label have "
            f"{' and '.join(map(str, counts))}."
        )


def _check_is_label(name: str, label: SimpleITK.Image) -> None:
    """Refuse labels that a cast to 8 bits would change: 256 would become background."""
    values = SimpleITK.GetArrayViewFromImage(label)
    if (values < 0).any() or (values > _LARGEST_LABEL).any() or (values % 1 != 0).any():
        raise DatasetError(
            f"Case '{name}': labels must be whole numbers from 0 to {_LARGEST_LABEL}; "
            f"found {values.min():g} to {values.max():g}."
        )


def _describe(
    source: PublicDataset, pairs: Sequence[Pair], splits: dict[str, list[str]]
) -> dict[str, object]:
    def entries(names: Iterator[str]) -> list[dict[str, str]]:
        return [{sub[:-1]: f"./{sub}/{name}{source.suffix}" for sub in ("images", "labels")}
                for name in names]  # fmt: skip

    return {
        "name": source.title,
        "licence": source.licence,
        "reference": source.reference,
        "tensorImageSize": "2D" if source.suffix == ".png" else "3D",
        "modality": {"0": source.modality},
        "labels": {str(value): name for value, name in enumerate(source.labels)},
        "numTraining": len(pairs),
        "training": entries(pair.name for pair in pairs),
        "test": [],
    }
