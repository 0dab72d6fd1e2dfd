"""Scores by subject, and means and paired differences with their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.differences import bootstrap_difference
from MorseCore.metrics.subjects import mean_by_subject

__all__ = ["Cases", "Interval", "Values", "all_by_subject", "pair_subjects", "values_by_subject"]

Cases = Mapping[str, Mapping[str, CaseScore]]
"""Case -> stage -> score."""
Values = dict[str, dict[str, float]]
"""Measure -> subject -> value."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval: bootstrap over subjects."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """The mean of one value a subject."""
        return cls.between([0.0] * len(values), values)

    @classmethod
    def between(cls, before: Sequence[float], after: Sequence[float]) -> "Interval":
        """The mean of ``after - before``, paired: both hold the same subjects in one order."""
        found = bootstrap_difference(before, after)
        return cls(found["difference"], found["low"], found["high"])

    @staticmethod
    def cells(found: "Interval | None") -> tuple[object, ...]:
        """``mean, low, high`` for a row of a CSV file; three empty cells if there is none."""
        return ("",) * 3 if found is None else (found.mean, found.low, found.high)

    def text(self, digits: int, *, factor: float = 1, sign: str = "+") -> str:
        """``+0.0123 [-0.0010, +0.0256]``; with ``sign=""`` only negative numbers have one."""
        mean, low, high = (
            f"{factor * x:{sign}.{digits}f}" for x in (self.mean, self.low, self.high)
        )
        return f"{mean} [{low}, {high}]"


def pair_subjects(
    before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[list[float], list[float]]:
    """The values of the subjects that both have, in one order."""
    both = sorted(before.keys() & after.keys())
    return [before[s] for s in both], [after[s] for s in both]


def values_by_subject(
    cases: Cases, subjects: Mapping[str, str], *, stage: str, measure: str
) -> dict[str, float]:
    """Subject -> mean over structures, then over the subject's cases.

    :param measure: of a structure's score, or ``miou``: Jaccard, background included.
    """
    values = {name: _value(stages[stage], measure) for name, stages in cases.items()}
    return mean_by_subject(values, subjects)


def all_by_subject(
    cases: Cases, subjects: Mapping[str, str], *, stage: str, measures: Iterable[str]
) -> Values:
    """:func:`values_by_subject` of several measures."""
    return {m: values_by_subject(cases, subjects, stage=stage, measure=m) for m in measures}


def _value(case: CaseScore, measure: str) -> float:
    """Mean over the structures of a case."""
    is_miou = measure == "miou"
    name = "jaccard" if is_miou else measure
    values = [getattr(score, name) for score in case.structures.values()]
    return float(np.mean([case.background_jaccard, *values] if is_miou else values))
