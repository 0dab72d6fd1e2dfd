"""How well a label map agrees with its reference; numpy and scipy only.

Only this file decides how a missing structure is scored:

=========== ============ ========== ============== ==================================
status      prediction   reference  Dice, Jaccard  distances
=========== ============ ========== ============== ==================================
both        present      present    measured       measured
absent      empty        empty      1              0
missed      empty        present    0              the image diagonal, as a penalty
spurious    present      empty      0              the image diagonal, as a penalty
=========== ============ ========== ============== ==================================

A mean never leaves out a case. `Statistic.valid_mean` gives the mean of measured distances beside
it. Arrays are (K, J, I) and ``spacing`` is in that order too, in mm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from MorseCore.metrics.surface import crop_to_foreground, image_diagonal, surface_distances

__all__ = [
    "MEASURES",
    "Measure",
    "Rule",
    "Statistic",
    "Status",
    "StructureScore",
    "StructureSummary",
    "Summary",
    "legacy_score",
    "overlap",
    "score_labels",
    "score_mask",
    "summarise",
]

Status = Literal["both", "missed", "spurious", "absent"]
Rule = Literal["mm", "voxel", "legacy"]


@dataclass(frozen=True)
class Measure:
    """One measure of agreement, as tables, files and comparisons take it."""

    name: str
    """A field of :class:`StructureScore` and of :class:`StructureSummary`."""
    title: str
    digits: int
    is_distance: bool = False
    """In mm, or in voxels by the rule of that name."""
    is_shown: bool = True
    """In tables for people."""
    is_compared: bool = True
    """Between the coarse and the refined masks, with an interval."""


MEASURES = (
    Measure("dice", "DSC", 4),
    Measure("jaccard", "Jaccard", 4, is_compared=False),
    Measure("hd95", "HD95", 2, is_distance=True),
    Measure("asd", "ASD", 3, is_distance=True),
    Measure("assd", "ASSD", 3, is_distance=True, is_shown=False, is_compared=False),
)
"""A new measure is a field in both classes below, a value in :func:`score_mask`, a line here."""


@dataclass(frozen=True)
class StructureScore:
    """One structure of one case; the empty policy is the table at the top of this file."""

    dice: float
    jaccard: float
    hd95: float
    """mm; larger of the two directed 95th percentiles."""
    asd: float
    """mm; prediction to reference only."""
    assd: float
    """mm; symmetric."""
    prediction_voxels: int
    target_voxels: int
    prediction_ml: float
    target_ml: float
    status: Status


@dataclass(frozen=True)
class Statistic:
    """One measure over cases."""

    mean: float
    """Over all cases, missed and spurious ones with their penalty."""
    sd: float
    """Sample standard deviation over cases; 0 for a single case."""
    median: float
    valid_mean: float | None
    """Over the cases with status ``both`` only; None if there is none."""


@dataclass(frozen=True)
class StructureSummary:
    """One structure, or the mean over structures, over all cases."""

    n: int
    """Cases."""
    n_missed: int
    n_spurious: int
    n_absent: int
    dice: Statistic
    jaccard: Statistic
    hd95: Statistic
    asd: Statistic
    assd: Statistic


@dataclass(frozen=True)
class Summary:
    """What `summarise` returns."""

    structures: dict[int, StructureSummary]
    mean: StructureSummary
    """Each case first averaged over structures (``valid_mean``: mean of the structures' ones);
    the counts are sums over structures."""
    miou: Statistic | None
    """Jaccard of each case averaged over the structures *and the background*, then over cases
    (I²Net's mIoU); None if the background was not scored."""


def overlap(prediction: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Dice and Jaccard of two boolean masks; (1, 1) if both are empty."""
    shared = int(np.count_nonzero(prediction & target))
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(target))
    if not total:
        return 1.0, 1.0
    return 2 * shared / total, shared / (total - shared)


def score_mask(
    prediction: np.ndarray,
    target: np.ndarray,
    spacing: Sequence[float],
    *,
    penalty: float | None = None,
) -> StructureScore:
    """Score one boolean mask.

    :param spacing: voxel size in mm, in array order.
    :param penalty: distance in mm if exactly one mask is empty; absent: the arrays' diagonal.
    :raises GeometryError: if the masks differ in shape or the spacing does not fit them.
    """
    distances = surface_distances(prediction, target, spacing)
    dice, jaccard = overlap(prediction, target)
    counts = int(np.count_nonzero(prediction)), int(np.count_nonzero(target))
    ml = float(np.prod(spacing)) / 1000
    status = _status(*counts)
    if status in ("missed", "spurious"):
        far = image_diagonal(prediction.shape, spacing) if penalty is None else penalty
        hd95 = asd = assd = far
    else:
        hd95, asd, assd = distances.hd95, distances.asd, distances.assd
    return StructureScore(
        dice=dice, jaccard=jaccard, hd95=hd95, asd=asd, assd=assd,
        prediction_voxels=counts[0], target_voxels=counts[1],
        prediction_ml=counts[0] * ml, target_ml=counts[1] * ml, status=status,
    )  # fmt: skip


def score_labels(
    prediction: np.ndarray,
    target: np.ndarray,
    labels: Iterable[int],
    spacing: Sequence[float],
    *,
    rule: Rule = "mm",
) -> dict[int, StructureScore]:
    """Score each label of two label maps of one shape.

    :param labels: values to score; background (0) is a label like any other if named.
    :param spacing: voxel size in mm, in array order.
    :param rule: ``mm``: distances in mm; ``voxel``: in voxels, whatever the spacing; ``legacy``:
        as in the code behind the papers' tables, see `legacy_score`.
    :raises GeometryError: as `score_mask`.
    """
    values = list(labels)
    if rule == "legacy":
        return {v: _legacy(prediction == v, target == v, spacing) for v in values}
    unit = (1.0,) * len(spacing) if rule == "voxel" else tuple(spacing)
    ml = float(np.prod(spacing)) / 1000
    penalty = image_diagonal(prediction.shape, unit) if len(spacing) == prediction.ndim else None
    if prediction.shape == target.shape and 0 not in values:
        prediction, target = crop_to_foreground(prediction, target)
    scores = {
        value: score_mask(prediction == value, target == value, unit, penalty=penalty)
        for value in values
    }
    return {v: _with_volumes(score, ml) for v, score in scores.items()}


def _with_volumes(score: StructureScore, ml: float) -> StructureScore:
    return replace(
        score, prediction_ml=score.prediction_voxels * ml, target_ml=score.target_voxels * ml
    )


def summarise(
    scores: Sequence[Mapping[int, StructureScore]], *, background: Sequence[float] | None = None
) -> Summary:
    """Averages over cases; ``scores`` holds one mapping from label to score a case.

    :param background: Jaccard of the background, a case.
    :raises ValueError: if there is no case, or the cases do not have the same labels.
    """
    labels = list(scores[0]) if scores else []
    if not labels or any(set(case) != set(labels) for case in scores):
        raise ValueError("A summary needs at least one case, and the same labels in each.")
    structures = {label: _summarise_one([case[label] for case in scores]) for label in labels}
    parts = list(structures.values())

    def over_structures(metric: str) -> Statistic:
        values = np.array([[getattr(case[label], metric) for label in labels] for case in scores])
        means = [getattr(part, metric).valid_mean for part in parts]
        valid = [mean for mean in means if mean is not None]
        return _statistic(values.mean(axis=1), valid)

    mean = StructureSummary(
        n=len(scores),
        n_missed=sum(part.n_missed for part in parts),
        n_spurious=sum(part.n_spurious for part in parts),
        n_absent=sum(part.n_absent for part in parts),
        **{measure.name: over_structures(measure.name) for measure in MEASURES},
    )
    return Summary(structures, mean, _miou(scores, background))


def _miou(
    scores: Sequence[Mapping[int, StructureScore]], background: Sequence[float] | None
) -> Statistic | None:
    if background is None:
        return None
    values = [
        float(np.mean([other, *(score.jaccard for score in case.values())]))
        for case, other in zip(scores, background, strict=True)
    ]
    return _statistic(np.array(values), values)


def legacy_score(prediction: np.ndarray, target: np.ndarray) -> tuple[float, float, float, float]:
    """Dice, Jaccard, HD95 and ASD as in the code behind MORSE's tables, for comparison only.

    Distances are in voxels whatever the spacing; HD95 pools both directions. A missed structure
    scores (0, 0, 0, 0), that is a perfect distance, and so does one absent from both; a spurious
    one scores (1, 1, 0, 0). Never use it to choose a model. An image of one slice, (1, H, W), is
    measured as the 2D image that it is; in that code each of its pixels would be surface.
    """
    if prediction.any() and not target.any():
        return 1.0, 1.0, 0.0, 0.0
    if not (prediction.any() and target.any()):
        return 0.0, 0.0, 0.0, 0.0
    distances = surface_distances(prediction, target, (1.0,) * prediction.ndim)
    pooled = np.concatenate([distances.to_target, distances.to_prediction])
    return *overlap(prediction, target), float(np.percentile(pooled, 95)), distances.asd


def _legacy(prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> StructureScore:
    """:func:`legacy_score` as a score; its ASSD, which that code lacks, is the ASD once more."""
    dice, jaccard, hd95, asd = legacy_score(prediction, target)
    counts = int(np.count_nonzero(prediction)), int(np.count_nonzero(target))
    score = StructureScore(
        dice=dice, jaccard=jaccard, hd95=hd95, asd=asd, assd=asd,
        prediction_voxels=counts[0], target_voxels=counts[1],
        prediction_ml=0.0, target_ml=0.0, status=_status(*counts),
    )  # fmt: skip
    return _with_volumes(score, float(np.prod(spacing)) / 1000)


def _status(prediction_voxels: int, target_voxels: int) -> Status:
    if prediction_voxels and target_voxels:
        return "both"
    if target_voxels:
        return "missed"
    return "spurious" if prediction_voxels else "absent"


def _summarise_one(scores: Sequence[StructureScore]) -> StructureSummary:
    statuses = [score.status for score in scores]

    def over_cases(name: str) -> Statistic:
        values = np.array([getattr(score, name) for score in scores])
        return _statistic(values, values[[status == "both" for status in statuses]].tolist())

    return StructureSummary(
        n=len(scores),
        n_missed=statuses.count("missed"),
        n_spurious=statuses.count("spurious"),
        n_absent=statuses.count("absent"),
        **{measure.name: over_cases(measure.name) for measure in MEASURES},
    )


def _statistic(values: np.ndarray, valid: Sequence[float]) -> Statistic:
    return Statistic(
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        median=float(np.median(values)),
        valid_mean=float(np.mean(valid)) if len(valid) else None,
    )
