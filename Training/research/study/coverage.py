"""Does uncertainty find the errors? ``C`` classes, ``*S`` space, ``V`` its voxels."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from MorseCore.points import top_two

__all__ = ["COUNTS", "LISTED", "WorstList", "coverage", "scores_of", "walk"]

COUNTS = tuple(2**n for n in range(5, 18))
"""Numbers N of points, 32 to 131,072."""
LISTED = 100
"""Points that the module lists, and a reviewer walks through."""


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
