"""Left and right: what a model of one side's structures found in both regions, or in a given one.

Labels 1 … N of both are the left side's, N + 1 … 2N the right side's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import tilt
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.assembly import MAX_LISTED_POINTS
from MorseCore.metrics.comparison import compare_masks
from MorseCore.quality.signals import SignalValue
from MorseCore.quality.thresholds import Threshold
from MorseCore.quality.verdict import join_verdicts
from MorseCore.result import DisputedSlice, RenderedPoints, Segmentation, Structure

__all__ = ["SIDES", "asymmetry", "merge_sides", "side_of_box", "sided_structures", "with_side"]

SIDES = ("left", "right")
_MODIFIER = {"left": "SCT^7771000^Left", "right": "SCT^24028007^Right"}
_REGION = "Anatomic codes - DICOM master list"
_UPRIGHT = 20.0  # degrees; in a scan that is tilted more, no column is the head's left
_BRIGHT = 0.15  # of the range up to the 99th percentile: above it is no air
_WIDTH = (110.0, 220.0)  # mm from ear to ear, or of a brain without its skull
_OFF_MIDDLE = 10.0  # mm that a box's centre must lie beside the middle


def sided_structures(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """A model's structures, once for the left and once for the right."""
    return tuple(
        Structure(
            item.value + n * len(structures), f"{side.title()} {_lower(item.name)}", item.color,
            _sided(item.terminology, side), side,
        )
        for n, side in enumerate(SIDES)
        for item in structures
    )  # fmt: skip


def with_side(result: Segmentation, side: str) -> Segmentation:
    """A result of one side, if that is known: names and values stay the model's own."""
    if not side:
        return result
    structures = tuple(
        replace(item, side=side, terminology=_sided(item.terminology, side))
        for item in result.structures
    )
    return replace(result, structures=structures)


def side_of_box(volume: Volume, roi: Roi) -> str:
    """The side of the head on which a box lies; nothing where that is not plain.

    At the box's height the head's outline and its mass must have their middles on one side of the
    box. A head that the image cuts off, a tilted one and a crop say nothing.

    :raises GeometryError: if the box lies outside the image.
    """
    grid = volume.geometry
    start, stop = roi_to_box(roi, grid)
    if tilt(grid) > _UPRIGHT:
        return ""
    across, along = (int(np.abs(grid.direction[row]).argmax()) for row in (0, 2))
    axis, height = 2 - across, 2 - along
    slab = volume.array.take(range(start[height], stop[height]), height)
    low, high = np.percentile(slab[::2, ::2, ::2], (0, 99))
    others = tuple(n for n in range(3) if n != axis)
    profile = np.count_nonzero(slab > low + _BRIGHT * (high - low), axis=others)
    columns = np.flatnonzero(profile > 0.1 * profile.max())
    step = grid.spacing[across]
    if not len(columns) or columns[0] == 0 or columns[-1] == len(profile) - 1:
        return ""
    if not _WIDTH[0] < (columns[-1] - columns[0]) * step < _WIDTH[1]:
        return ""
    mass = float(profile @ np.arange(len(profile)) / profile.sum())
    centre, half = (start[axis] + stop[axis] - 1) / 2, (stop[axis] - start[axis]) / 2
    beside = [centre - middle for middle in (mass, (columns[0] + columns[-1]) / 2)]
    if min(map(abs, beside)) < max(half, _OFF_MIDDLE / step) or beside[0] * beside[1] < 0:
        return ""
    is_right = beside[0] * grid.direction[0, across] > 0
    return SIDES[int(is_right)]


def merge_sides(
    results: Mapping[str, Segmentation],
    structures: Sequence[Structure],
    *,
    thresholds: Sequence[Threshold] = (),
) -> Segmentation:
    """One result of those of the two sides, which lie on one grid.

    Where both have a structure, the one that is less uncertain there counts.

    :param results: by side; one of the two may be missing.
    :param structures: of one side, as the model has them.
    :param thresholds: of the verdict.
    """
    count = len(structures)
    first = next(iter(results.values()))
    right_wins = _right_wins(results)
    maps = {}
    for name in ("coarse", "refined"):
        whole = np.zeros_like(getattr(first, name))
        for side, wins in (("left", ~right_wins), ("right", right_wins)):
            if side in results:
                labels, shift = getattr(results[side], name), SIDES.index(side) * count
                where = wins & (labels > 0)
                whole[where] = labels[where] + shift
        maps[name] = whole
    uncertainty = np.maximum.reduce([result.uncertainty for result in results.values()])
    sided = sided_structures(structures)
    changes = compare_masks(
        maps["coarse"], maps["refined"], geometry=first.geometry, structures=sided
    )
    for row in changes:  # each side's own, where its regions overlap too
        side, value = SIDES[(row["value"] - 1) // count], (row["value"] - 1) % count + 1
        own = results[side].report["structures"] if side in results else []
        for key in ("coarse_probability_ml", "refined_probability_ml"):
            row[key] = sum(item[key] for item in own if item["value"] == value)
    report = _joined({side: result.report for side, result in results.items()})
    report["structures"] = changes
    report["sides"] = asymmetry(changes, structures)
    verdicts = {s: r.report["verdict"] for s, r in results.items() if "verdict" in r.report}
    if verdicts:
        report["verdict"] = _joined_verdict(verdicts, report["sides"], structures, thresholds)
    return Segmentation(
        first.geometry, sided, maps["coarse"], maps["refined"], uncertainty,
        _joined_points(results, count), report, _joined_slices(results, count),
    )  # fmt: skip


def _joined_verdict(
    verdicts: Mapping[str, Mapping[str, Any]],
    sides: Sequence[Mapping[str, Any]],
    structures: Sequence[Structure],
    thresholds: Sequence[Threshold],
) -> dict[str, Any]:
    """The verdict on both sides, and on how they differ."""
    sided = sided_structures(structures)
    names = {
        side: {item.name: other.name for item, other in zip(
            structures, sided[n * len(structures):], strict=False)}
        for n, side in enumerate(SIDES)
    }  # fmt: skip
    pairs = [
        SignalValue("asymmetry", row["name"], abs(row["asymmetry"]))
        for row in sides
        if row["asymmetry"] is not None
    ]
    return join_verdicts(verdicts, names, pairs, thresholds)


def asymmetry(
    rows: Sequence[Mapping[str, Any]], structures: Sequence[Structure]
) -> list[dict[str, Any]]:
    """For each structure both sides' refined volumes, their sum, and 2 (L - R) / (L + R).

    :param rows: of the report, for the structures of both sides.
    :param structures: of one side. The last row is their total.
    """
    volumes = {row["value"]: float(row["refined_ml"]) for row in rows}
    count, table = len(structures), []
    for item in structures:
        left, right = volumes[item.value], volumes[item.value + count]
        table.append({"name": item.name, **_pair(left, right)})
    if count > 1:
        sums = [sum(volumes[s.value + n * count] for s in structures) for n in (0, 1)]
        table.append({"name": "total", **_pair(*sums)})
    return table


def _pair(left: float, right: float) -> dict[str, float | None]:
    total = left + right
    index = round(2 * (left - right) / total, 4) if total else None
    return {
        "left_ml": round(left, 4), "right_ml": round(right, 4), "total_ml": round(total, 4),
        "asymmetry": index,
    }  # fmt: skip


def _right_wins(results: Mapping[str, Segmentation]) -> np.ndarray:
    """(K, J, I) bool: where the right side's labels count."""
    if len(results) == 1:
        side, result = next(iter(results.items()))
        return np.full(result.refined.shape, side == "right")
    left, right = (results[side] for side in SIDES)
    has_left, has_right = ((r.coarse > 0) | (r.refined > 0) for r in (left, right))
    wins: np.ndarray = has_right & (~has_left | (right.uncertainty < left.uncertainty))
    return wins


def _joined_points(results: Mapping[str, Segmentation], count: int) -> RenderedPoints:
    parts = []
    for side, result in results.items():
        shift, points = SIDES.index(side) * count, result.points
        parts.append(replace(
            points,
            coarse_label=np.where(points.coarse_label > 0, points.coarse_label + shift, 0),
            refined_label=np.where(points.refined_label > 0, points.refined_label + shift, 0),
        ))  # fmt: skip
    names = RenderedPoints.__dataclass_fields__
    joined = RenderedPoints(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
    order = np.argsort(-joined.uncertainty, kind="stable")[:MAX_LISTED_POINTS]
    return joined.take(order)


def _joined_slices(results: Mapping[str, Segmentation], count: int) -> tuple[DisputedSlice, ...]:
    """The left side's and then the right side's, under the labels of both."""
    return tuple(
        replace(
            item,
            coarse=np.where(item.coarse > 0, item.coarse + SIDES.index(side) * count, 0),
            other=np.where(item.other > 0, item.other + SIDES.index(side) * count, 0),
        )
        for side, result in results.items()
        for item in result.disputed
    )


def _joined(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One report: sums of what was counted, the larger attention, every warning once."""
    first = dict(next(iter(reports.values())))
    all_of = list(reports.values())
    points = [report["points"] for report in all_of]
    first["points"] = {
        key: None if value is None else sum(p[key] for p in points)
        for key, value in points[0].items()
    }
    first["windows"] = sum(report["windows"] for report in all_of)
    if "attention" in first:
        first["attention"] = max(report["attention"] for report in all_of)
    if "seconds" in first:
        first["seconds"] = {
            key: round(sum(report["seconds"][key] for report in all_of), 4)
            for key in first["seconds"]
        }
    if "warnings" in first:
        first["warnings"] = list(dict.fromkeys(w for r in all_of for w in r["warnings"]))
    first["parameters"] = {**first["parameters"], "roi": {
        side: report["parameters"]["roi"] for side, report in reports.items()
    }}  # fmt: skip
    return first


def _lower(name: str) -> str:
    """``Anterior hippocampus`` within a name; ``CSF`` stays."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def _sided(terminology: str, side: str) -> str:
    """The entry with the side: as the type's modifier, or as the region's if that is taken."""
    parts = terminology.split("~")
    if len(parts) < 7:
        return terminology
    if parts[3] in ("", "^^"):
        parts[3] = _MODIFIER[side]
    else:
        parts[4:7] = [_REGION, parts[2], _MODIFIER[side]]
    return "~".join(parts)
