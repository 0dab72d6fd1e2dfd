"""Does uncertainty find the errors, and is a probability of 0.9 right nine times in ten?

``C`` classes, ``*S`` space, ``V`` its voxels. Calibration is a sum over voxels, so that cases can
be added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from MorseCore.points import top_two
from Training.research.shared.scores import Interval

__all__ = [
    "BINS", "COUNTS", "LISTED", "TEMPERATURES", "Reliability", "WorstList", "best_temperature",
    "coverage", "ece_difference", "flat", "near_boundary", "nll_by_temperature", "scores_of",
    "walk",
]  # fmt: skip

COUNTS = tuple(2**n for n in range(5, 18))
"""Numbers N of points, 32 to 131,072."""
LISTED = 100
"""Points that the module lists, and a reviewer walks through."""
BINS = 15
TEMPERATURES = np.geomspace(0.25, 8.0, 81)
"""Candidates; between the best and its neighbours a parabola is laid."""
_RESAMPLES = 2000
_LEAST = 1e-12  # a probability of 0 is one that float32 could not hold


def scores_of(probabilities: Tensor) -> dict[str, Tensor]:
    """Uncertainty of every voxel by each measure, the larger the less certain: (C, *S) -> (*S).

    ``margin`` is that of the logits, second largest - largest (MORSE §2), as the difference of the
    logarithms; ``entropy`` that of the probabilities.
    """
    tiny = torch.finfo(probabilities.dtype).tiny
    logs = probabilities.clamp_min(tiny).log()
    first, second = top_two(logs, dim=0)
    return {"margin": second - first, "entropy": -(probabilities * logs).sum(0)}


def coverage(score: Tensor, wrong: np.ndarray) -> list[float]:
    """Share of the wrong voxels among the N most uncertain, for each N of :data:`COUNTS`.

    At random it would be N / V. A tie goes to the voxel that comes first.

    :param wrong: bool (*S), not empty of true ones.
    """
    order = score.flatten().argsort(descending=True, stable=True).numpy()
    found = np.cumsum(wrong.ravel()[order])
    return [float(found[min(n, len(found)) - 1] / found[-1]) for n in COUNTS]


@dataclass(frozen=True)
class WorstList:
    """What a reviewer finds who walks the list of a case from its top."""

    errors: list[int]
    """Point by point, 1 where the refined mask is wrong."""
    rate: float
    """Share of wrong voxels among all rendered points: what points taken blindly would find."""
    background: float
    """Share of wrong voxels in the whole image."""
    regions: float
    """Share of the wrong voxels whose connected region holds a point of the list."""


def walk(prediction_wrong: np.ndarray, uncertainty: Tensor, rendered: Tensor) -> WorstList:
    """The module's list of the hundred most uncertain rendered points, against the reference.

    :param prediction_wrong: bool (*S), the refined mask is not the reference.
    :param uncertainty: (*S), before rendering: the list's order.
    :param rendered: bool (*S).
    """
    wrong = prediction_wrong.ravel()
    points = rendered.flatten().nonzero()[:, 0]
    order = uncertainty.flatten()[points].argsort(descending=True, stable=True)[:LISTED]
    listed = points[order].numpy()
    regions, _ = ndimage.label(prediction_wrong)
    touched = np.setdiff1d(np.unique(regions.ravel()[listed]), [0])
    share = np.isin(regions, touched).sum() / max(1, wrong.sum())
    every = points.numpy()
    return WorstList(
        wrong[listed].astype(int).tolist(), float(wrong[every].mean()) if len(every) else 0.0,
        float(wrong.mean()), float(share),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reliability:
    """Voxels binned by the probability of their most probable class, in equal steps from 0 to 1."""

    count: np.ndarray
    """(BINS,) voxels."""
    confidence: np.ndarray
    """(BINS,) sum of that probability."""
    correct: np.ndarray
    """(BINS,) voxels whose most probable class is the reference's."""

    @classmethod
    def of(cls, probabilities: Tensor, labels: Tensor) -> "Reliability":
        """:param probabilities: (C, V). :param labels: (V,)."""
        top, winner = probabilities.max(0)
        index = np.minimum((top.numpy() * BINS).astype(int), BINS - 1)
        right = (winner == labels).numpy()
        return cls(
            np.bincount(index, minlength=BINS).astype(float),
            np.bincount(index, top.double().numpy(), minlength=BINS),
            np.bincount(index, right.astype(float), minlength=BINS),
        )

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.count + other.count, self.confidence + other.confidence,
            self.correct + other.correct,
        )  # fmt: skip

    @property
    def ece(self) -> float:
        """Expected calibration error (Guo et al. 2017): mean over voxels of how far a bin's mean
        probability lies from its share of correct voxels."""
        return float(np.abs(self.confidence - self.correct).sum() / max(1.0, self.count.sum()))


def ece_difference(
    before: Sequence[Reliability], after: Sequence[Reliability], *, seed: int = 0
) -> Interval:
    """ECE of all voxels after less before: percentile bootstrap, paired by subject.

    :param before: of each subject. :param after: of the same subjects.
    """
    count = len(before)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES)

    def errors(parts: Sequence[Reliability], weights: np.ndarray) -> np.ndarray:
        voxels, confidence, correct = (
            weights @ np.stack([getattr(part, name) for part in parts])
            for name in ("count", "confidence", "correct")
        )
        found: np.ndarray = np.abs(confidence - correct).sum(1) / np.maximum(1.0, voxels.sum(1))
        return found

    whole = np.ones((1, count))
    difference = float((errors(after, whole) - errors(before, whole))[0])
    low, high = np.percentile(errors(after, draws) - errors(before, draws), [2.5, 97.5])
    return Interval(difference, float(low), float(high))


def near_boundary(mask: np.ndarray, spacing: Sequence[float], *, within: float) -> np.ndarray:
    """Voxels within so many mm of the outline of a predicted mask; all, if it has none.

    The *prediction's* outline: to choose voxels by the reference would choose by the outcome, and
    a subset so chosen is not calibrated even if the probabilities are perfect.

    :param mask: (K, J, I) labels.
    :param spacing: mm along (K, J, I).
    """
    edge = np.zeros(mask.shape, bool)
    for axis in range(mask.ndim):
        upper, lower = np.moveaxis(edge, axis, 0)[1:], np.moveaxis(edge, axis, 0)[:-1]
        moved = np.moveaxis(mask, axis, 0)
        differs = moved[1:] != moved[:-1]
        upper |= differs
        lower |= differs
    if not edge.any():
        return np.ones(mask.shape, bool)
    return np.asarray(ndimage.distance_transform_edt(~edge, sampling=spacing) <= within)


def nll_by_temperature(probabilities: Tensor, labels: Tensor) -> np.ndarray:
    """Sum over voxels of -log p of the reference's class, one value a candidate temperature.

    Of p^(1/T), normalised: in one window that is softmax(logits / T) exactly, where windows are
    blended it is an approximation.

    :param probabilities: (C, V). :param labels: (V,).
    """
    logs = probabilities.double().clamp_min(_LEAST).log()
    right = logs.gather(0, labels[None])[0]
    return np.array(
        [float(((logs / t).logsumexp(0) - right / t).sum()) for t in TEMPERATURES.tolist()]
    )


def best_temperature(nll: np.ndarray) -> float:
    """The temperature with the least sum, by a parabola in log T through it and its neighbours.

    :param nll: sums of :func:`nll_by_temperature`. At the end of the candidates: that end.
    """
    n = int(nll.argmin())
    if n in (0, len(nll) - 1):
        return float(TEMPERATURES[n])
    before, least, after = nll[n - 1 : n + 2]
    curvature = before - 2 * least + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
    return float(np.exp(np.log(TEMPERATURES[n]) + shift * step))


def flat(probabilities: Tensor, labels: np.ndarray, where: np.ndarray) -> tuple[Tensor, Tensor]:
    """(C, *S) and (*S) at the true voxels of ``where``: (C, V) and (V,)."""
    keep = torch.from_numpy(where)
    return probabilities[:, keep], torch.from_numpy(labels.astype(np.int64))[keep]
