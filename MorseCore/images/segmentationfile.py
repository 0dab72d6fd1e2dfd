"""Slicer's own segmentation file (.seg.nrrd): a label map with the segments' names and colours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from scipy import ndimage

from MorseCore.errors import ImageError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import check_is_there, geometry_of, write_itk_image
from MorseCore.images.itkpath import itk_path
from MorseCore.result import Structure

__all__ = [
    "FileSegment",
    "is_segmentation",
    "read_layers",
    "read_segments",
    "write_segmentation_nrrd",
]

_SUFFIX = ".seg.nrrd"
_CODE = re.compile(r"[A-Za-z0-9.-]+\^[A-Za-z0-9.-]+")  # scheme and code of a terminology entry


@dataclass(frozen=True)
class FileSegment:
    """A segment as its file names it."""

    name: str
    value: int
    layer: int = 0
    """Segments of one layer do not overlap; those of two may."""
    code: str = ""
    """Coding scheme and code of its type and modifier, such as ``SCT^10200004``; may be empty."""


def is_segmentation(path: Path) -> bool:
    """Whether a file is called as Slicer calls its segmentations."""
    return path.name.lower().endswith(_SUFFIX)


def read_segments(path: Path) -> tuple[FileSegment, ...]:
    """The segments that a NRRD file names, in its order; none if it names none.

    :raises ImageError: if there is no such file, or it is no NRRD file.
    """
    check_is_there(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(itk_path(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageError(f"{path.name} cannot be read: it is damaged.") from error
    entries = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    found, number = [], 0
    while f"Segment{number}_ID" in entries or f"Segment{number}_Name" in entries:
        found.append(_segment(entries, f"Segment{number}_", number))
        number += 1
    return tuple(found)


def read_layers(path: Path) -> tuple[np.ndarray, Geometry]:
    """The layers (L, K, J, I) of a segmentation, and its grid.

    :raises ImageError: if the file cannot be read.
    :raises GeometryError: if its grid is impossible.
    """
    check_is_there(path)
    try:
        image = SimpleITK.ReadImage(itk_path(path))
    except RuntimeError as error:
        raise ImageError(f"{path.name} cannot be read: it is damaged.") from error
    array = SimpleITK.GetArrayFromImage(image)
    is_layered = image.GetNumberOfComponentsPerPixel() > 1
    layers = np.moveaxis(array, -1, 0) if is_layered else array[None]
    geometry = geometry_of(image)
    return layers.reshape(-1, *geometry.shape), geometry


def _segment(entries: Mapping[str, str], prefix: str, number: int) -> FileSegment:
    def number_of(key: str, default: int) -> int:
        text = entries.get(prefix + key, "").strip()
        return int(text) if text.isdecimal() else default

    name = entries.get(f"{prefix}Name", "").strip() or entries.get(f"{prefix}ID", "").strip()
    tags = entries.get(f"{prefix}Tags", "").partition("TerminologyEntry:")[2].partition("|")[0]
    parts = tags.split("~")[2:4]  # type and modifier; before them the context and the category
    codes = [match.group() for part in parts if (match := _CODE.match(part))]
    return FileSegment(
        name or f"segment {number + 1}", number_of("LabelValue", number + 1),
        number_of("Layer", 0), " ".join(codes),
    )  # fmt: skip


def write_segmentation_nrrd(
    path: Path, labels: np.ndarray, geometry: Geometry, *, structures: Sequence[Structure]
) -> None:
    """Write labels (K, J, I) as a segmentation of one layer; empty structures are segments too.

    :raises OutputError: if the name does not end in .seg.nrrd or the file cannot be written.
    :raises GeometryError: if the labels do not fit the grid.
    """
    if not path.name.lower().endswith(_SUFFIX):
        raise OutputError(f"{path.name} must end in {_SUFFIX}.")
    largest = max(int(labels.max(initial=0)), *(structure.value for structure in structures), 0)
    dtype = np.uint8 if largest <= 255 else np.uint16
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False), max_label=largest)
    metadata = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for n, structure in enumerate(structures):
        box = boxes[structure.value - 1]
        for key, value in _describe(structure, box).items():
            metadata[f"Segment{n}_{key}"] = value
    write_itk_image(path, labels.astype(dtype), geometry, metadata=metadata)


def _describe(structure: Structure, box: tuple[slice, ...] | None) -> dict[str, str]:
    terminology = _plain(structure.terminology)
    return {
        "ID": f"Segment_{structure.value}",
        "Name": _plain(structure.name),
        "NameAutoGenerated": "0",
        "Color": " ".join(f"{value:.6g}" for value in structure.color),
        "ColorAutoGenerated": "0",
        "LabelValue": str(structure.value),
        "Layer": "0",
        "Extent": _extent(box),
        "Tags": f"TerminologyEntry:{terminology}|" if terminology else "|",
    }


def _plain(text: str) -> str:
    """Keep a value on its line, and out of the list that ``|`` separates."""
    return " ".join(text.replace("|", " ").split())


def _extent(box: tuple[slice, ...] | None) -> str:
    """First and last voxel along i, j, k; Slicer writes 0 -1 for nothing."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{axis.start} {axis.stop - 1}" for axis in reversed(box))
