"""A case's labels on its image's own grid, numbered as the structures are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK

from MorseCore.errors import DatasetError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.segmentationfile import is_segmentation, read_layers
from MorseCore.planning.layouts import FoundCase, LabelFile
from MorseCore.planning.names import Part

__all__ = ["CaseLabels", "read_case_labels"]

_OUTSIDE = 0.05  # share of what is marked that may lie beyond the image
_MOST_POINTS = 100_000


@dataclass(frozen=True, eq=False)
class CaseLabels:
    """What was drawn in a case."""

    labels: np.ndarray
    """(K, J, I) uint8 on the image's grid: values of structures."""
    is_as_filed: bool
    """Whether the one label file holds exactly this."""
    was_resampled: bool
    """Whether a label file lies on another grid."""
    overlaps: dict[tuple[int, int], int] = field(default_factory=dict)
    """Two structures -> voxels that both claim."""


def read_case_labels(
    case: FoundCase,
    image: Volume,
    parts: Mapping[int, Sequence[Part]],
    *,
    priority: Sequence[int] = (),
) -> CaseLabels:
    """Read a case's label files.

    :param parts: structure's value -> its segments.
    :param priority: values of structures, the one that wins first; of others the smaller wins.
    :raises DatasetError: if a file cannot be read, image and labels lie in different frames, or a
        file holds a number that nothing names.
    """
    masks: dict[int, np.ndarray] = {}
    resampled = False
    for number, label in enumerate(case.labels):
        try:
            layers, geometry, ndim = _layers_of(label)
        except MorseError as error:
            raise DatasetError(f"Case '{case.name}': {error}") from error
        mine = {v: [p for p in segments if p.file == number] for v, segments in parts.items()}
        _check_named(case, label, layers, [p for segments in mine.values() for p in segments])
        is_moved = not _same_grid(image, geometry, ndim)
        if is_moved:
            _check_frame(case, image, layers, geometry, ndim)
            resampled = True
        for value, segments in mine.items():
            for part in segments:
                mask = layers[part.layer] > 0 if part.is_mask else layers[part.layer] == part.value
                mask = _on_grid(mask, geometry, image.geometry) if is_moved else mask
                mask = mask.reshape(image.array.shape)
                masks[value] = masks[value] | mask if value in masks else mask
    labels, overlaps = _painted(masks, image.array.shape, priority)
    plain = len(case.labels) == 1 and len(layers) == 1 and not resampled and image.ndim == ndim
    as_filed = plain and np.array_equal(layers[0].reshape(labels.shape), labels)
    return CaseLabels(labels, as_filed, resampled, overlaps)


def _layers_of(label: LabelFile) -> tuple[np.ndarray, Geometry, int]:
    """(L, K, J, I) of a label file, its grid, and 2 if it is a picture."""
    if is_segmentation(label.path):
        layers, geometry = read_layers(label.path)
        return layers, geometry, 3
    volume = read_volume(label.path)
    return volume.array[None], volume.geometry, volume.ndim


def _same_grid(image: Volume, geometry: Geometry, ndim: int) -> bool:
    if image.ndim == 2 and ndim == 2:  # pictures lie nowhere
        return image.geometry.shape == geometry.shape
    return image.geometry.is_close(geometry)


def _check_named(
    case: FoundCase, label: LabelFile, layers: np.ndarray, parts: Sequence[Part]
) -> None:
    """Refuse numbers without a name in a file whose other numbers have one."""
    if any(part.is_mask for part in parts):
        return
    known = {0, *label.names, *(part.value for part in parts)}
    values = np.unique(layers)
    strange = [value for value in values.tolist() if value not in known]
    if strange and label.names:
        raise DatasetError(
            f"Case '{case.name}': '{label.path.name}' holds the value {strange[0]:g}, which has no "
            f"name; known are {', '.join(f'{v} {n}' for v, n in label.names.items())}."
        )


def _check_frame(
    case: FoundCase, image: Volume, layers: np.ndarray, geometry: Geometry, ndim: int
) -> None:
    """Refuse labels that do not lie in the image."""
    if image.ndim == 2 and ndim == 2:
        raise DatasetError(
            f"Case '{case.name}': the picture has {image.geometry.shape[2]} x "
            f"{image.geometry.shape[1]} pixels, its mask {geometry.shape[2]} x "
            f"{geometry.shape[1]}; pictures lie nowhere, so they must be of one size."
        )
    marked = np.argwhere(layers.any(axis=0))[:, ::-1]
    marked = marked[:: max(1, len(marked) // _MOST_POINTS)]
    if not len(marked):
        return
    inside = image.geometry.to_index(geometry.to_world(marked.astype(np.float64)))
    size = np.asarray(image.geometry.shape[::-1])
    share = float(((inside < -0.5) | (inside > size - 0.5)).any(axis=1).mean())
    if share > _OUTSIDE:
        hint = (
            "; both have one size, so one of them may have lost its header: copy the image's to it"
            if image.geometry.shape == geometry.shape
            else ""
        )
        raise DatasetError(
            f"Case '{case.name}': {share:.0%} of what is marked lies outside of the image "
            f"'{case.image.name}', so image and labels are in different frames{hint}."
        )


def _on_grid(mask: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """The mask at the centres of another grid's voxels."""
    moving = Volume(mask.astype(np.uint8), source, "").to_sitk()
    spacing, origin, direction = target.lps()
    found = SimpleITK.Resample(
        moving, target.shape[::-1], SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor,
        origin, spacing, direction, 0,
    )  # fmt: skip
    result: np.ndarray = SimpleITK.GetArrayFromImage(found) > 0
    return result


def _painted(
    masks: Mapping[int, np.ndarray], shape: tuple[int, ...], priority: Sequence[int]
) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """One label map, and where structures met."""
    sizes = {value: int(np.count_nonzero(mask)) for value, mask in masks.items()}
    rank = {value: n for n, value in enumerate(priority)}
    # Painted last is what wins.
    order = sorted(masks, key=lambda v: (v in rank, -rank.get(v, 0), -sizes[v], v))
    labels = np.zeros(shape, np.uint8)
    overlaps: dict[tuple[int, int], int] = {}
    for value in order:
        covered = np.bincount(labels[masks[value]], minlength=1)
        for other in np.flatnonzero(covered).tolist():
            if other:
                pair = (min(other, value), max(other, value))
                overlaps[pair] = overlaps.get(pair, 0) + int(covered[other])
        labels[masks[value]] = value
    return labels, overlaps
