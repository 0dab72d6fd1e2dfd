"""Is a probability of 0.9 right nine times in ten? Reliability, ECE and one temperature.

``C`` classes, ``V`` voxels. Everything is a sum over voxels, so that cases can be added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from Training.research.shared.scores import Interval

__all__ = ["BINS", "TEMPERATURES", "Reliability", "best_temperature", "ece_difference",
           "near_boundary",
           "nll_by_temperature"]  # fmt: skip

BINS = 15
TEMPERATURES = np.geomspace(0.25, 8.0, 81)
"""Candidates; between the best and its neighbours a parabola is laid."""
_RESAMPLES = 2000
_LEAST = 1e-12  # a probability of 0 is one that float32 could not hold


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
