"""Several volumes in one series: echoes, phases, repetitions at the same places."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.dicom.frames import DicomFrame
from MorseCore.images.severalvolumes import check_volume, pick_volume

__all__ = ["choose_volume"]

_SAME = 1e-3  # mm between slices that lie at one position
_SHOWN = 6  # values in a message
_LABELS = (
    "TemporalPositionIndex", "TemporalPositionIdentifier", "EchoTime", "EffectiveEchoTime",
    "EchoNumbers", "DiffusionBValue", "DiffusionGradientOrientation",
    "NominalPercentageOfCardiacPhase", "TriggerTime", "InversionTime", "RepetitionTime",
    "FlipAngle", "AcquisitionNumber", "FrameAcquisitionNumber", "FrameReferenceTime",
    "SequenceName", "ComplexImageComponent", "FrameType", "ImageType", "KVP", "ConvolutionKernel",
    "StackID", "AcquisitionDateTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
"""What may tell volumes apart, the plainest first."""


def choose_volume(
    frames: Sequence[DicomFrame], depths: np.ndarray, volume: int | None, folder: str
) -> list[DicomFrame]:
    """The slices of one volume, sorted by depth.

    :param depths: (N,) mm of each slice along the normal.
    :param volume: which one is wanted.
    :raises ImageError: if there are several and none is chosen, or there is no such volume.
    :raises GeometryError: if slices lie at one position and nothing tells volumes apart.
    """
    order = np.argsort(depths, kind="stable")
    places = np.zeros(len(frames), dtype=np.int64)
    places[order] = np.concatenate([[0], np.cumsum(np.diff(depths[order]) > _SAME)])
    most = int(np.bincount(places).max())
    if most == 1:
        check_volume(f"'{folder}'", volume, 1)
        return [frames[n] for n in order]
    split = _split(frames, places, most)
    if split is None:
        both = np.flatnonzero(places == np.bincount(places).argmax())[:2]
        names = " and ".join(frames[n].name for n in both)
        raise GeometryError(
            f"Two slices in '{folder}' lie at one position ({names}); one volume (one phase, one "
            "echo) is expected, and nothing tells which slices belong together."
        )
    shown = ", ".join(label for label, _ in split.groups[:_SHOWN])
    more = ", …" if len(split.groups) > _SHOWN else ""
    number = pick_volume(
        f"'{folder}'", volume, len(split.groups),
        differing=f" that differ in {split.keyword} ({shown}{more})",
    )  # fmt: skip
    members, places_there = split.groups[number][1], int(places.max()) + 1
    if len(members) < places_there:
        raise ImageError(
            f"Volume {number} of '{folder}' ({split.keyword} {split.groups[number][0]}) has slices "
            f"at {len(members)} of {places_there} positions; slices are missing."
        )
    return [frames[n] for n in sorted(members, key=lambda n: places[n])]


@dataclass(frozen=True)
class _Split:
    """A way to divide slices into volumes."""

    keyword: str
    """What tells them apart."""
    groups: list[tuple[str, list[int]]]
    """Its value and the slices of each volume."""


def _split(frames: Sequence[DicomFrame], places: np.ndarray, count: int) -> _Split | None:
    """Divide slices into ``count`` volumes, in each of which every place occurs once at most."""
    labels = {keyword: [frame.label(keyword) for frame in frames] for keyword in _LABELS}
    labels |= _dimensions([frame.label("DimensionIndexValues") for frame in frames])
    varying = {key: values for key, values in labels.items() if 1 < len(set(values)) <= count}
    for keys in (*((key,) for key in varying), *combinations(varying, 2)):
        found = _grouped(list(zip(*(varying[key] for key in keys), strict=True)), places, count)
        if found is not None:
            return _Split(" and ".join(keys), found)
    return _blocks(frames, places, count)


def _dimensions(values: Sequence[str]) -> dict[str, list[str]]:
    """The columns of an enhanced file's index, each of which may count volumes."""
    rows = [value.split("\\") for value in values]
    if not values[0] or len({len(row) for row in rows}) > 1:
        return {}
    columns = zip(*rows, strict=True)
    return {f"dimension {n}": list(column) for n, column in enumerate(columns, start=1)}


def _grouped(
    keys: Sequence[tuple[str, ...]], places: np.ndarray, count: int
) -> list[tuple[str, list[int]]] | None:
    """The slices by key; None unless there are ``count`` keys and no place occurs twice in one."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for n, key in enumerate(keys):
        groups.setdefault(key, []).append(n)
    if len(groups) != count or any(
        len({int(places[n]) for n in members}) < len(members) for members in groups.values()
    ):
        return None
    return [
        ("/".join(part or "none" for part in key), groups[key])
        for key in sorted(groups, key=_sorting_key)
    ]


def _sorting_key(key: tuple[str, ...]) -> tuple[tuple[int, tuple[float, ...], str], ...]:
    """Numbers by their size, before other texts."""

    def rank(text: str) -> tuple[int, tuple[float, ...], str]:
        try:
            return 0, tuple(float(part) for part in text.split("\\")), ""
        except ValueError:
            return 1, (), text

    return tuple(rank(part) for part in key)


def _blocks(frames: Sequence[DicomFrame], places: np.ndarray, count: int) -> _Split | None:
    """Volumes whose images are numbered one volume after the other, each from end to end."""
    try:
        numbers = [int(frame.label("InstanceNumber")) for frame in frames]
    except ValueError:
        return None
    size = int(places.max()) + 1
    if len(frames) != count * size or len(set(numbers)) < len(numbers):
        return None
    order = sorted(range(len(frames)), key=lambda n: numbers[n])
    groups = []
    for first in range(0, len(order), size):
        block = order[first : first + size]
        steps = np.diff(places[block])
        if not ((steps == 1).all() or (steps == -1).all()):
            return None
        groups.append((f"{numbers[block[0]]} to {numbers[block[-1]]}", block))
    return _Split("InstanceNumber", groups)
