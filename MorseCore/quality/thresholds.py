"""What is measured of a result, and the limits within which a model's good results lie.

The block ``verdict`` of ``model.json``. A training writes it at its end, and so does
``Training/verdict.py``: volumes of label maps, all else fitted on good and on spoilt runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from typing import Any

from MorseCore.errors import ConfigError

__all__ = ["ANY", "LEAST", "SIGNALS", "Signal", "Threshold", "VerdictInfo"]

ANY = "*"
"""The structure of a threshold that holds for each that has none of its own."""
LEAST = 1e-6
"""ml: the logarithm of no volume."""
_MOST = 99.0  # of a severity


@dataclass(frozen=True)
class Signal:
    """One thing that is measured."""

    words: str
    """What it is of a structure, the beginning of a sentence."""
    unit: str = ""
    bad: str = "high"
    """``low``, ``high`` or ``both``: where results go wrong."""
    is_log: bool = False
    """A factor counts, not a difference."""
    step: float = 0.1
    """A difference (of logarithms) that is noise: no limit lies closer to what is usual."""

    def scaled(self, value: float) -> float:
        """On the axis on which distances count."""
        return log(max(value, LEAST)) if self.is_log else value


SIGNALS: Mapping[str, Signal] = {
    "volume": Signal("The volume of {}", "ml", "both", is_log=True, step=0.1),
    "stray": Signal("The share of {} beside its largest piece", step=0.02),
    "holes": Signal("The share of holes in {}", step=0.01),
    "contact": Signal("The part of {} that the face of what was segmented cuts", step=0.1),
    "attention": Signal("The uncertainty of {}", step=0.05),
    "thickness": Signal("The longest side of a voxel in {}", "mm", is_log=True, step=0.2),
    "agreement": Signal(
        "The agreement of {} with the pass that saw the mirror image", bad="low", step=0.01
    ),
    "stability": Signal("The least agreement of {} among the coarse passes", bad="low", step=0.01),
    "asymmetry": Signal("The difference of left and right of {}", step=0.1),
}


@dataclass(frozen=True)
class Threshold:
    """Where a signal of a structure stops to be like that of good results.

    Example::

        limit = Threshold("volume", "Liver", 1500.0, (900.0, 2600.0), (500.0, 4500.0))
        limit.severity(1500.0)   # 0; at 900 it is 1, at 500 it is 2

    :raises ConfigError: if the numbers do not rise, or there is no such signal.
    """

    signal: str
    """Of :data:`SIGNALS`."""
    structure: str
    """Its name; empty: the whole result; :data:`ANY`."""
    typical: float
    """Median of good results."""
    check: tuple[float | None, float | None]
    """Beyond it a person should look; null: no such end."""
    implausible: tuple[float | None, float | None]
    """Beyond it results were wrong; null: no such end."""

    def __post_init__(self) -> None:
        if self.signal not in SIGNALS:
            raise ConfigError(f"There is no signal '{self.signal}'; there is {', '.join(SIGNALS)}.")
        (low, high), (lower, higher) = self.check, self.implausible
        chain = [x for x in (lower, low, self.typical, high, higher) if x is not None]
        scaled = map(SIGNALS[self.signal].scaled, chain)  # 0 and 1e-9 ml are one logarithm
        if any(a >= b for a, b in pairwise(scaled)):
            raise ConfigError(
                f"The limits of '{self.signal}' must lie in order around what is typical; "
                f"found {chain}."
            )

    def severity(self, value: float) -> float:
        """0 where it is usual, 1 at the limit of ``check``, 2 at that of ``implausible``."""
        scale = SIGNALS[self.signal].scaled
        side = 0 if value < self.typical else 1
        near, far = self.check[side], self.implausible[side]
        if near is None:
            return 0.0
        x, middle, limit = scale(value), scale(self.typical), scale(near)
        if abs(x - middle) <= abs(limit - middle):
            return abs(x - middle) / abs(limit - middle)
        if far is None:
            return 1.5
        return min(_MOST, 1 + abs(x - limit) / abs(scale(far) - limit))


@dataclass(frozen=True)
class VerdictInfo:
    """What good results of a model are like."""

    thresholds: tuple[Threshold, ...]
    origin: str = ""
    """From which cases the limits come, a sentence."""
    figures: dict[str, Any] = field(default_factory=dict)
    """How many spoilt runs they find, and how many good ones they flag."""
