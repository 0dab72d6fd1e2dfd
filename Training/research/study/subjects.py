"""Scores by subject."""

from collections.abc import Mapping

import numpy as np

from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.subjects import mean_by_subject

__all__ = ["value_of", "values_by_subject"]


def values_by_subject(
    cases: Mapping[str, Mapping[str, CaseScore]],
    subjects: Mapping[str, str],
    *,
    stage: str,
    measure: str,
) -> dict[str, float]:
    """Subject -> mean over structures, then over the subject's cases.

    :param cases: by name, then by stage.
    :param measure: of a structure's score, or ``miou``: Jaccard, background included.
    """
    values = {name: value_of(stages[stage], measure) for name, stages in cases.items()}
    return mean_by_subject(values, subjects)


def value_of(case: CaseScore, measure: str) -> float:
    """Mean over the structures of a case; see :func:`values_by_subject`."""
    is_miou = measure == "miou"
    name = "jaccard" if is_miou else measure
    values = [getattr(score, name) for score in case.structures.values()]
    return float(np.mean([case.background_jaccard, *values] if is_miou else values))
