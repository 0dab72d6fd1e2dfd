"""The fingerprint of a data set: what its scans and structures measure, case by case.

Sizes, spacings and places are along the patient's axes R, A, S (of pictures x, y and their number).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from MorseCore.errors import DatasetError, MorseError
from MorseCore.images.channels import join_channels, read_channel
from MorseCore.images.contents import voxel_digest
from MorseCore.images.grids import canonical_axes
from MorseCore.images.imageio import Volume
from MorseCore.images.voxelvalues import has_value, measure_range
from MorseCore.planning.layouts import FoundCase
from MorseCore.planning.names import Matching
from MorseCore.planning.reading import read_case_labels

__all__ = ["CaseMeasures", "Fingerprint", "StructureMeasures", "measure_case", "measure_cases"]

_SAMPLED = 10_000  # voxels a case whose intensities are kept
_PERCENTILES = (0.5, 50.0, 99.5)
_AIR = -500  # HU; no other image has whole numbers below it


@dataclass(frozen=True)
class StructureMeasures:
    """One structure in one case."""

    voxels: int
    ml: float
    place: tuple[float, float, float]
    """Of its centre of mass, mm along R, A, S from the image's centre."""
    thickness: tuple[float, float, float]
    """Mean length in mm of the lines along R, A, S that run through it."""


@dataclass(frozen=True, eq=False)
class ChannelMeasures:
    """One channel of a case that has several."""

    range: tuple[float, float]
    """Smallest and largest value of the image."""
    intensities: np.ndarray
    """(N,) float32, of some of its foreground voxels."""
    is_resampled: bool
    """Whether it lies on another grid than the first channel."""


@dataclass(frozen=True, eq=False)
class CaseMeasures:
    """One case."""

    name: str
    size: tuple[int, int, int]
    """Voxels along R, A, S."""
    spacing: tuple[float, float, float]
    """mm along R, A, S."""
    slice_axis: int
    """Which of R, A, S runs from slice to slice."""
    is_picture: bool
    is_resampled: bool
    """Whether its labels lie on another grid than its image."""
    digest: str
    """Of what its image shows; empty for an image of one value."""
    range: tuple[float, float]
    """Smallest and largest value of the image."""
    structures: Mapping[str, StructureMeasures]
    """Those that are there."""
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    intensities: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """(N,) float32, of some of its foreground voxels."""
    channels: tuple[ChannelMeasures, ...] = ()
    """Of each channel, where there are several; range and intensities above are the first's."""


@dataclass(frozen=True)
class Fingerprint:
    """What the rules look at."""

    cases: tuple[CaseMeasures, ...]
    modality: str
    """``CT``, ``MR`` or ``any``; of several channels what they have in common."""
    channels: Mapping[str, str] = field(default_factory=dict)
    """Channel -> its modality, in order, where there are several."""

    @property
    def is_pictures(self) -> bool:
        """Whether the images are pictures, which have no millimetres."""
        return all(case.is_picture for case in self.cases)

    def spacings(self) -> np.ndarray:
        """(cases, 3) mm."""
        return np.array([case.spacing for case in self.cases])

    def sizes(self) -> np.ndarray:
        """(cases, 3) voxels."""
        return np.array([case.size for case in self.cases])

    def of(self, structure: str) -> list[StructureMeasures]:
        """A structure in the cases that have it."""
        return [c.structures[structure] for c in self.cases if structure in c.structures]

    def foreground(self, channel: int = 0) -> tuple[float, ...]:
        """The 0.5th, 50th and 99.5th percentile of all structures' intensities."""
        of = [c.channels[channel].intensities if c.channels else c.intensities for c in self.cases]
        values = np.concatenate(of)
        return tuple(float(x) for x in np.percentile(values, _PERCENTILES)) if len(values) else ()

    def summary(self) -> dict[str, Any]:
        """For the plan's file."""
        axes = "RAS" if not self.is_pictures else "xyn"
        numbers = {"spacing": self.spacings(), "size": self.sizes()}
        rows: dict[str, Any] = {
            key: {
                name: {"smallest": _round(v.min()), "median": _round(np.median(v)),
                       "largest": _round(v.max())}
                for name, v in zip(axes, values.T, strict=True)
            } for key, values in numbers.items()
        }  # fmt: skip
        for n, name in enumerate(self.channels or [""]):
            if found := self.foreground(n):
                keys = [f"percentile {p:g}" for p in _PERCENTILES]
                what = f"foreground intensity {name}".rstrip()
                rows[what] = dict(zip(keys, map(_round, found), strict=True))
        return rows


def measure_cases(
    cases: Sequence[FoundCase],
    matching: Matching,
    *,
    modality: str,
    channels: Sequence[str] = (),
    shown: Callable[[Sequence[FoundCase]], Sequence[FoundCase]],
) -> Fingerprint:
    """Look at every case, one after the other.

    :param modality: what the data set says; empty: it is guessed from the values.
    :param channels: names of the images of a case, where there are several.
    :param shown: a bar around the cases.
    :raises DatasetError: if a case cannot be read or does not fit together.
    """
    measured = tuple(measure_case(case, matching) for case in shown(cases))
    kinds = {case.is_picture for case in measured}
    if len(kinds) > 1:
        names = [next(c.name for c in measured if c.is_picture is kind) for kind in (True, False)]
        raise DatasetError(
            f"'{names[0]}' is a picture and '{names[1]}' a volume; a network learns one of the two."
        )
    if not channels:
        return Fingerprint(measured, _modality(modality, [case.range for case in measured]))
    each = {
        name: _modality(name, [case.channels[n].range for case in measured])
        for n, name in enumerate(channels)
    }
    shared = set(each.values())
    return Fingerprint(measured, shared.pop() if len(shared) == 1 else "any", each)


def measure_case(case: FoundCase, matching: Matching) -> CaseMeasures:
    """Look at one case.

    :raises DatasetError: if it cannot be read or does not fit together.
    """
    try:
        images = [read_channel(case.images, n) for n in range(len(case.images))]
        image = join_channels(images)
    except MorseError as error:
        raise DatasetError(f"Case '{case.name}': {error}") from error
    found = read_case_labels(case, image, matching.parts[case.name])
    names = {s.value: s.name for s in matching.structures}
    axes = canonical_axes(image.geometry)
    geometry = axes.geometry(image.geometry)
    labels = axes.apply(found.labels)
    spacing = geometry.spacing
    measured = {
        names[value]: _measure(labels, value, spacing)
        for value in np.flatnonzero(np.bincount(labels.ravel())).tolist() if value
    }  # fmt: skip
    known = measure_range(image.array)
    is_scan = case.image != case.labels[0].path
    drawn = found.labels if is_scan else np.zeros_like(found.labels)
    channels = tuple(
        ChannelMeasures(
            _range_of(channel), _sampled(channel, drawn),
            not image.geometry.is_close(own.geometry),
        ) for channel, own in zip(image.channels, images, strict=True)
    )  # fmt: skip
    return CaseMeasures(
        case.name, labels.shape[::-1], spacing, axes.order.index(2), image.ndim == 2,
        found.was_resampled, "" if known.is_constant else voxel_digest(image),
        channels[0].range, measured,
        {(names[a], names[b]): n for (a, b), n in found.overlaps.items()},
        channels[0].intensities, channels if image.others else (),
    )  # fmt: skip


def _range_of(image: Volume) -> tuple[float, float]:
    found = measure_range(image.array)
    return float(found.low), float(found.high)


def _measure(labels: np.ndarray, value: int, spacing: tuple[float, ...]) -> StructureMeasures:
    """:param labels: (K, J, I) along S, A, R."""
    places = np.nonzero(labels == value)
    count = len(places[0])
    middle = [(n - 1) / 2 for n in labels.shape]
    place = [(float(p.mean()) - m) for p, m in zip(places, middle, strict=True)][::-1]
    shape = labels.shape
    lines = []
    for axis in range(3):  # a line along an axis is known by its two other coordinates
        first, second = (n for n in range(3) if n != axis)
        lines.append(len(np.unique(places[first] * shape[second] + places[second])))
    r, a, s = (count / n * mm for n, mm in zip(lines[::-1], spacing, strict=True))
    x, y, z = (p * mm for p, mm in zip(place, spacing, strict=True))
    ml = count * float(np.prod(spacing)) / 1000
    return StructureMeasures(count, ml, (x, y, z), (r, a, s))


def _sampled(image: Volume, labels: np.ndarray) -> np.ndarray:
    values = image.array[labels > 0]
    values = values[has_value(values)]
    step = max(1, len(values) // _SAMPLED)
    sampled: np.ndarray = values[::step].astype(np.float32)
    return sampled


def _modality(said: str, ranges: Sequence[tuple[float, float]]) -> str:
    word = said.upper()
    if word.startswith("CT"):
        return "CT"
    if word.startswith("MR") or any(part in word for part in ("T1", "T2", "FLAIR", "PD")):
        return "MR"
    is_silent = not said or said.startswith("channel ")  # as channels without a name are called
    if is_silent and all(low <= _AIR for low, _ in ranges):
        return "CT"
    return "any"


def _round(value: float) -> float:
    return round(float(value), 4)
