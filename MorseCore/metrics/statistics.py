"""How sure a mean of differences is."""

from collections.abc import Sequence

import numpy as np

__all__ = ["bootstrap_difference"]

_RESAMPLES = 2000


def bootstrap_difference(
    before: Sequence[float], after: Sequence[float], *, seed: int = 0
) -> dict[str, float]:
    """Mean of ``after - before`` over cases with its 95 % interval: paired percentile bootstrap.

    :returns: ``difference``, ``low``, ``high``; the interval of one case is its difference.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    count = len(differences)
    draws = np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return {"difference": float(differences.mean()), "low": float(low), "high": float(high)}
