"""What a whole-head model says of one scan, beside what is known of it.

A *trial* is a scan and something that is done to it. Of a label map the scan is drawn, so the truth
is known; of a real head other programs' opinions are.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume, write_labels
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.brain import measure_brain, volumes_of
from MorseCore.inference.locator import CoarseMap, mirror_labels, region_around
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.whole_scan import open_session
from MorseCore.metrics.scores import overlap
from MorseCore.result import brain_values
from MorseCore.system.seeds import generator_for
from MorseCore.training.generated.appearance import Look, add_bias, add_noise, blur, paint
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.generated.ranges import Ranges
from MorseCore.training.monitor import Reference, WatchedCase
from Training.research.study.head_changes import CHANGES, labels_on, smaller_head, thick_slices

_Index = tuple[int, int, int]

__all__ = ["CONTRASTS", "MAP_CHANGES", "HeadTrial", "MapTrial", "dice_by_label"]

CONTRASTS: Mapping[str, tuple[float, ...]] = {  # brightness of fluid, grey and white matter
    "T1": (0.15, 0.5, 0.8),
    "T2": (0.95, 0.6, 0.4),
    "FLAIR": (0.1, 0.7, 0.55),
    "proton density": (0.7, 0.85, 0.6),
    "T1 inverted": (0.85, 0.5, 0.2),
    "any": (),
}
"""``any``: each label has a brightness of its own, as in a part of the training."""
MAP_CHANGES = ("1 mm", "5 mm slices", "2.4 mm slices", "small head")
_SMALL = 0.87  # of an adult's head, along each axis: a child of about two
_SPREAD = 0.04  # by which labels of one tissue differ
_TRACES = Ranges(bias=0.25, noise=0.04, gamma=0.1, thick_slices=0.0, blurred=1.0, blur=(0.4, 0.7))
_AROUND = 20.0  # mm of a head around its brain that are scanned


@dataclass(frozen=True, eq=False)
class MapTrial:
    """A scan drawn from a label map."""

    case: str
    path: Path
    contrast: str
    change: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"map {self.case} {self.contrast} {self.change}"

    def measure(
        self, predictor: VolumePredictor, regions: VolumePredictor, table: LabelTable
    ) -> dict[str, Any]:
        """DSC of both stages by structure, sides that are exchanged, and boxes."""
        volume, truth = self._draw(table)
        scan = volume
        if self.change.endswith("slices"):
            scan = thick_slices(volume, float(self.change.split()[0]))
        found = _segment(predictor, scan)
        if "refused" in found:
            return found
        maps = found.pop("maps")
        names = [item.name for item in predictor.info.structures]
        for stage, labels in maps.items():
            mine = labels_on(labels, scan.geometry, volume.geometry)
            found[stage] = _named(dice_by_label(mine, truth, len(names) + 1), names)
            found["exchanged"] = _exchanged(mine, truth, names)
        structures = predictor.info.result_structures()
        if brain_values(structures):
            volumes = volumes_of(truth, volume.geometry, structures)
            found["true brain"] = measure_brain(truth, volumes, structures)
        if self.change == "1 mm":
            parts = {name: truth == names.index(name) + 1 for name in _located(regions)}
            found["boxes"] = _in_boxes(
                parts, self._boxes(predictor, regions, scan, maps["coarse"]), scan.geometry
            )
        return found

    def _boxes(
        self,
        predictor: VolumePredictor,
        regions: VolumePredictor,
        scan: Volume,
        coarse: np.ndarray,
    ) -> dict[str, Roi]:
        """What the other model would be given; at the scan's resolution, which is no larger."""
        known = {item.name: item.value for item in predictor.info.structures}
        found = CoarseMap(coarse, scan.geometry, scan.array, 1.0, {})
        margin = regions.info.locator.margin if regions.info.locator else 0.0
        boxes = {}
        for name in _located(regions):
            with suppress(ImageError):  # it is not found
                boxes[name] = region_around(found, [known[name]], scan.geometry, margin)
        return boxes

    def _draw(self, table: LabelTable) -> tuple[Volume, np.ndarray]:
        """The scan at the map's spacing, and the model's labels on its grid."""
        source = read_volume(self.path)
        classes, known = np.asarray(table.classes, np.uint8), np.asarray(table.values)
        box = _around(classes[np.searchsorted(known, source.array)] > 0, source.geometry)
        part, geometry = source.array[tuple(map(slice, *box))], source.geometry.crop(*box)
        if self.change == "small head":
            geometry = smaller_head(geometry, _SMALL)
        entries = torch.from_numpy(np.searchsorted(known, part).astype(np.uint8))
        generator = generator_for(0, f"{self.case} {self.contrast}", 0)
        spacing = geometry.spacing[::-1]
        image = paint(entries[None], entries, _look(table, self.contrast, generator), generator)
        image = add_bias(image, ranges=_TRACES, spacing=spacing, generator=generator)
        image = blur(image, ranges=_TRACES, spacing=spacing, generator=generator)
        image = add_noise(image.clamp_(0, 1.2), ranges=_TRACES, generator=generator)
        return Volume(image.numpy(), geometry, self.name), classes[entries.numpy()]


@dataclass(frozen=True, eq=False)
class HeadTrial:
    """A real scan, changed or not."""

    watched: WatchedCase
    change: str
    kept: Path
    """Folder of the original's labels, with which a changed scan's are compared."""

    @property
    def name(self) -> str:
        """Of its file."""
        return f"head {self.watched.name} {self.change}"

    def measure(
        self, predictor: VolumePredictor, regions: VolumePredictor, table: LabelTable
    ) -> dict[str, Any]:
        """DSC with each reference by label, and with what the model said of the original."""
        volume = read_volume(Path(self.watched.image))
        references = {r.name: (r, read_volume(Path(r.labels))) for r in self.watched.references}
        changed = CHANGES[self.change](volume, lambda: _brain(references, volume.geometry))
        found = _segment(predictor, changed.volume)
        if "refused" in found:
            return found
        labels = found.pop("maps")["refined"]
        names = [item.name for item in predictor.info.structures]
        known = {item.name: item.value for item in predictor.info.structures}
        found["references"] = {}
        mine, seen = changed.answer(labels, volume.geometry)
        for name, (reference, other) in references.items():
            there, view = mine, seen
            if not other.geometry.is_close(volume.geometry):
                there, view = changed.answer(labels, other.geometry)
            found["references"][name] = _compare(there, other.array * view, reference, known)
        if self.change == "original":
            write_labels(self.kept / f"{self.watched.name}.nii.gz", mine, volume.geometry)
            found["regions"] = self._regions(predictor, regions, volume, references, mine)
        first = read_volume(self.kept / f"{self.watched.name}.nii.gz").array * seen
        found["with original"] = _named(dice_by_label(mine, first, len(names) + 1), names)
        found["exchanged"] = _exchanged(mine, first, names)
        return found

    def _regions(
        self,
        predictor: VolumePredictor,
        regions: VolumePredictor,
        volume: Volume,
        references: Mapping[str, tuple[Reference, Volume]],
        mine: np.ndarray,
    ) -> dict[str, Any]:
        """The other model in the boxes it is given: DSC by side, and what the boxes hold."""
        known = {item.name: item.value for item in predictor.info.structures}
        result = open_session(regions, volume, PredictOptions(), keep=False).segment()
        dice, parts = {}, {}
        for name in _located(regions):
            others = [v.array > 0 for r, v in references.values()
                      if (name,) in r.structures.values()]  # fmt: skip
            side = [s.value for s in result.structures if name.lower().startswith(s.side)]
            for other in others:
                dice[name] = _dice(np.isin(result.refined, side), other)
            parts[name] = np.logical_or.reduce([mine == known[name], *others])
        regions_found = result.report["found"]["regions"]
        boxes = {region["name"]: Roi(**region["roi"]) for region in regions_found}
        return {"dice": dice, "boxes": _in_boxes(parts, boxes, volume.geometry)}


def dice_by_label(mine: np.ndarray, other: np.ndarray, count: int) -> list[float]:
    """DSC of the labels 1 … count - 1; 1 where neither map has one."""
    both = np.bincount(other[mine == other], minlength=count)[1:count]
    sizes = sum(np.bincount(labels.ravel(), minlength=count)[1:count] for labels in (mine, other))
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0).round(4).tolist()


def _named(values: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, values, strict=True)) | {"mean": round(float(np.mean(values)), 4)}


def _dice(mine: np.ndarray, other: np.ndarray) -> float:
    return round(overlap(mine, other)[0], 4)


def _exchanged(mine: np.ndarray, other: np.ndarray, names: Sequence[str]) -> list[str]:
    """Structures that lie more in the other side's than in their own."""
    swap = mirror_labels(names)
    if swap is None:
        return []
    count = len(names) + 1
    pairs = np.bincount(
        mine.ravel().astype(np.int64) * count + other.ravel(), minlength=count**2
    ).reshape(count, count)
    return [name for n, name in enumerate(names, 1) if pairs[n, swap[n]] > pairs[n, n]]


def _segment(predictor: VolumePredictor, volume: Volume) -> dict[str, Any]:
    """Maps by stage and what the report says of the head; or the sentence of a refusal."""
    try:
        result = predictor.segment(volume)
    except ImageError as error:
        return {"refused": str(error)}
    seconds = round(sum(result.report["seconds"].values()), 1)
    return {
        "maps": {"coarse": result.coarse, "refined": result.refined},
        "agreement": result.report["found"]["agreement"],
        "brain": result.report.get("brain"), "seconds": seconds,
    }  # fmt: skip


def _located(regions: VolumePredictor) -> tuple[str, ...]:
    return regions.info.locator.structures if regions.info.locator else ()


def _in_boxes(
    parts: Mapping[str, np.ndarray], boxes: Mapping[str, Roi], grid: Geometry
) -> dict[str, float]:
    """Share of each part (K, J, I bool, on a scan's grid) that lies in its box; 0 without one."""
    shares = {}
    for name, part in parts.items():
        inside = 0
        if name in boxes:
            start, stop = roi_to_box(boxes[name], grid)
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            inside = int(part[box].sum())
        shares[name] = round(inside / max(1, int(part.sum())), 5)
    return shares


def _compare(
    mine: np.ndarray, other: np.ndarray, reference: Reference, known: Mapping[str, int]
) -> dict[str, float]:
    dice = {
        " + ".join(names): _dice(np.isin(mine, [known[n] for n in names]), other == int(label))
        for label, names in reference.structures.items()
    }
    return dice | {"mean": round(float(np.mean(list(dice.values()))), 4)}


def _brain(references: Mapping[str, tuple[Reference, Volume]], grid: Geometry) -> np.ndarray:
    """(K, J, I) bool: the brain by the reference that knows most structures."""
    _, volume = max(references.values(), key=lambda pair: len(pair[0].structures))
    return labels_on(volume.array > 0, volume.geometry, grid).astype(bool)


def _around(brain: np.ndarray, geometry: Geometry) -> tuple[_Index, _Index]:
    """Start and stop of the part that is scanned."""
    places = [np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    rims = [round(_AROUND / mm) for mm in geometry.spacing[::-1]]
    a, b, c = (max(0, int(p[0]) - rim) for p, rim in zip(places, rims, strict=True))
    d, e, f = (
        min(n, int(p[-1]) + 1 + rim) for p, rim, n in zip(places, rims, brain.shape, strict=True)
    )
    return (a, b, c), (d, e, f)


def _look(table: LabelTable, contrast: str, generator: torch.Generator) -> Look:
    """Brightness by entry; what is no tissue of the brain has any."""
    means = torch.rand(len(table.values), generator=generator)
    means = means[[min(n, partner) for n, partner in enumerate(table.partners)]]
    if CONTRASTS[contrast]:
        for entry, tissue in enumerate(table.tissues):
            if tissue >= 0:
                spread = _SPREAD * (2 * float(means[entry]) - 1)
                means[entry] = CONTRASTS[contrast][tissue] + spread
    means[0] = 0.02
    return Look(means, torch.full_like(means, 0.04))
