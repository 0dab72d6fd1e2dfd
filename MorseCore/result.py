"""What a segmentation run hands over: two masks, the rendered points, the uncertainty.

numpy only, so that Slicer can read a result without importing torch.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.geometry import Geometry

__all__ = ["DisputedSlice", "RenderedPoints", "Segmentation", "Structure", "brain_values"]

_COLUMNS = (
    "rank", "r", "a", "s", "i", "j", "k", "uncertainty",
    "coarse_label", "refined_label", "coarse_probability", "refined_probability", "changed",
)  # fmt: skip
_HEMISPHERES = {2, 3, 41, 42}  # FreeSurfer: cerebral white matter and cortex, left and right
_FLUID = 24  # FreeSurfer: the fluid around the brain


@dataclass(frozen=True)
class Structure:
    """One foreground class of a model."""

    value: int
    """Voxel value in the label map, from 1."""
    name: str
    color: tuple[float, float, float]
    """RGB, each 0..1."""
    terminology: str = ""
    """Slicer's terminology entry string (category~type~modifier~region …), empty if none."""
    side: str = ""
    """``left`` or ``right`` of the patient; empty where it does not say."""
    freesurfer: int = 0
    """FreeSurfer's number of the structure; 0 where it has none."""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``report.json`` and in what the worker says."""
        plain = {"value": self.value, "name": self.name, "color": list(self.color),
                 "terminology": self.terminology}  # fmt: skip
        told = {"side": self.side, "freesurfer": self.freesurfer}
        return plain | {key: value for key, value in told.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Structure":
        """The structure of such a dictionary.

        :raises KeyError: if something is missing. :raises ValueError: if it makes no sense.
        """
        r, g, b = (float(share) for share in data["color"])
        return cls(
            int(data["value"]), str(data["name"]), (r, g, b), str(data["terminology"]),
            str(data.get("side", "")), int(data.get("freesurfer", 0)),
        )  # fmt: skip


def brain_values(structures: Sequence[Structure]) -> tuple[int, ...]:
    """The labels of a brain and its ventricles, without the fluid around it.

    Empty where the structures are not those of a whole brain, by FreeSurfer's numbers.
    """
    if not {item.freesurfer for item in structures} >= _HEMISPHERES:
        return ()
    return tuple(item.value for item in structures if item.freesurfer not in (0, _FLUID))


@dataclass(frozen=True, eq=False)
class RenderedPoints:
    """The voxels that the rendering head predicted again, most uncertain first. ``P`` points."""

    positions: np.ndarray
    """(P, 3) float64, RAS mm."""
    indices: np.ndarray
    """(P, 3) int32, voxel (i, j, k) of the input grid that is nearest to the point."""
    uncertainty: np.ndarray
    """(P,) float32 in 0..1: 1 - (largest - second largest coarse probability); 1 is undecided."""
    coarse_label: np.ndarray
    """(P,) int32."""
    refined_label: np.ndarray
    """(P,) int32."""
    coarse_probability: np.ndarray
    """(P,) float32, probability of ``coarse_label`` before rendering."""
    refined_probability: np.ndarray
    """(P,) float32, probability of ``refined_label`` after rendering."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def changed(self) -> np.ndarray:
        """(P,) bool: the rendering gave the point another label."""
        return self.coarse_label != self.refined_label

    @classmethod
    def empty(cls) -> "RenderedPoints":
        """No points at all."""
        none, integers = np.zeros(0, np.float32), np.zeros(0, np.int32)
        return cls(
            np.zeros((0, 3)), np.zeros((0, 3), np.int32), none, integers, integers, none, none
        )

    def take(self, order: np.ndarray) -> "RenderedPoints":
        """The points at the given positions, in the given order."""
        return RenderedPoints(
            self.positions[order], self.indices[order], self.uncertainty[order],
            self.coarse_label[order], self.refined_label[order],
            self.coarse_probability[order], self.refined_probability[order],
        )  # fmt: skip

    def write_csv(self, path: Path) -> None:
        """Write one row a point (RAS mm, voxel indices of the input)."""
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            columns = (
                self.positions, self.indices, self.uncertainty, self.coarse_label,
                self.refined_label, self.coarse_probability, self.refined_probability,
                self.changed,
            )  # fmt: skip
            # As lists: an element of an array costs a microsecond, and there may be 50,000 rows.
            rows = zip(*(column.tolist() for column in columns), strict=True)
            for n, (position, index, unsure, before, after, p, q, changed) in enumerate(rows):
                writer.writerow(
                    [n + 1, *(f"{mm:.3f}" for mm in position), *index, f"{unsure:.5f}",
                     before, after, f"{p:.5f}", f"{q:.5f}", int(changed)]
                )  # fmt: skip

    @classmethod
    def read_csv(cls, path: Path) -> "RenderedPoints":
        """Read what :meth:`write_csv` wrote."""
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        if not rows:
            return cls.empty()

        def column(name: str, dtype: type) -> np.ndarray:
            return np.array([row[name] for row in rows], dtype=np.float64).astype(dtype)

        return cls(
            np.stack([column(name, np.float64) for name in "ras"], axis=1),
            np.stack([column(name, np.int32) for name in "ijk"], axis=1),
            column("uncertainty", np.float32),
            column("coarse_label", np.int32),
            column("refined_label", np.int32),
            column("coarse_probability", np.float32),
            column("refined_probability", np.float32),
        )


@dataclass(frozen=True, eq=False)
class DisputedSlice:
    """Where two passes of the network differ most; arrays are (K, J, I), one voxel thick."""

    geometry: Geometry
    """Of the slice, on the model's grid."""
    image: np.ndarray
    """float32, as the network saw it."""
    coarse: np.ndarray
    """Label map before rendering."""
    other: np.ndarray
    """What the network says when it is asked in another way."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A finished run on one volume; arrays are (K, J, I) on the input's own grid."""

    geometry: Geometry
    structures: Sequence[Structure]
    coarse: np.ndarray
    """uint8 or uint16 label map before rendering."""
    refined: np.ndarray
    """Label map after rendering."""
    uncertainty: np.ndarray
    """float32 in 0..1, from the coarse probabilities (see RenderedPoints.uncertainty)."""
    points: RenderedPoints
    report: dict[str, Any] = field(default_factory=dict)
    """What ``report.json`` holds."""
    disputed: tuple[DisputedSlice, ...] = ()
    """For each axis the slice in which the passes of the verdict differ most; no file keeps it."""

    def brain(self) -> np.ndarray | None:
        """The brain's mask after rendering, (K, J, I) uint8; None: no whole brain's structures."""
        values = brain_values(self.structures)
        return self._renumbered(dict.fromkeys(values, 1)) if values else None

    def in_freesurfer_numbers(self) -> np.ndarray | None:
        """The refined labels under FreeSurfer's numbers, (K, J, I); None: no structure has one."""
        numbers = {s.value: s.freesurfer for s in self.structures if s.freesurfer}
        return self._renumbered(numbers) if numbers else None

    def _renumbered(self, numbers: Mapping[int, int]) -> np.ndarray:
        """What is not named becomes 0."""
        size = max(int(self.refined.max(initial=0)), *numbers) + 1
        table = np.zeros(size, np.min_scalar_type(max(numbers.values())))
        table[list(numbers)] = list(numbers.values())
        changed: np.ndarray = table[self.refined]
        return changed
