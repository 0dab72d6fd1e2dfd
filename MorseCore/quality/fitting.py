"""Find the limits of a verdict: as wide as good results need, and where results are wrong.

A signal's distance from what is usual counts in units of how much good results vary. A run's
distance is the largest of its signals. One factor makes the limit of ``check`` such that the good
runs of one subject in ten lie beyond. A second one for each signal, found with spoilt runs, makes
the limit of ``implausible``. Other widths for each signal, chosen by what they find, found no more
in subjects that were left out (93.5 % of the spoilt runs of hippocampus-t1 either way).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import exp, log
from typing import Any

import numpy as np
from scipy import stats

from MorseCore.quality.spoiling import APART
from MorseCore.quality.thresholds import LEAST, SIGNALS, Threshold, VerdictInfo

__all__ = [
    "WRONG",
    "JudgedRun",
    "add_volumes",
    "fit_thresholds",
    "named_volumes",
    "runs_of",
    "severity_of",
    "volumes_alone",
]

FLAGGED = 0.1  # of the subjects have a good run beyond: of the runs one in twenty at most
WRONG = 0.75
"""Times the good runs' median quality: below it is a result that nobody should use."""
_SURE = 0.95  # of the runs beyond ``implausible`` are wrong
_FACTORS = np.arange(1.25, 6.01, 0.25)
_NEAR = 0.5  # times the usual spread: nearer is all the same
_FEWEST = 5  # runs that show a signal, or that lie beyond a limit
_UNKNOWN = 3.0  # times the limit, where too few runs lie beyond
_NAMES = list(SIGNALS)
_FAST = tuple(name for name in SIGNALS if name != "stability")
_REFUSED = 99.0
_UNFITTED = 2.0  # times what lies between the median and the outermost twentieth

Key = tuple[str, str]


@dataclass(frozen=True)
class JudgedRun:
    """One segmentation whose truth is known."""

    subject: str
    kind: str
    """How the image was spoilt; empty: it was not."""
    strength: int = 0
    values: Mapping[Key, float] = field(default_factory=dict)
    """Signal and structure -> value."""
    rules: float = 0.0
    """Severity of what needs no limit; :data:`_REFUSED` if the image was refused."""
    quality: float = 0.0
    entropy: float = 0.0
    entropy_inside: float = 0.0


def runs_of(cases: Mapping[str, Mapping[str, Any]]) -> list[JudgedRun]:
    """The runs that :func:`MorseCore.training.verdicts.measure_runs` wrote, by case."""
    runs = []
    for case in cases.values():
        for row in case["runs"]:
            start = (case["subject"], row["kind"], row["strength"])
            if "refused" in row:
                runs.append(JudgedRun(*start, rules=_REFUSED))
                continue
            values = {
                (signal, name): value
                for signal, table in row["signals"].items()
                for name, value in table.items()
            }
            runs.append(JudgedRun(
                *start, values, row["rules"], row["quality"],
                row["entropy"], row["entropy_inside"],
            ))  # fmt: skip
    return runs


@dataclass(frozen=True)
class _Usual:
    """What is usual of one signal, on the axis on which distances count."""

    middle: float
    below: float
    above: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> "_Usual":
        signal = SIGNALS[name]
        scaled = np.array([signal.scaled(value) for value in values])
        low, middle, high = (float(x) for x in np.percentile(scaled, [5, 50, 95]))
        return cls(middle, max(signal.step, middle - low), max(signal.step, high - middle))

    def distance(self, name: str, value: float) -> float:
        """In units of how much good results vary; 0 on the side where nothing is wrong."""
        signal = SIGNALS[name]
        off = signal.scaled(value) - self.middle
        if (off < 0 and signal.bad == "high") or (off > 0 and signal.bad == "low"):
            return 0.0
        return abs(off) / (self.below if off < 0 else self.above)


Usuals = dict[Key, _Usual]


def add_volumes(found: dict[int, list[float]], labels: np.ndarray, ml: float) -> None:
    """Append the volumes of a label map: by value, and of all (0). :param ml: of a voxel."""
    counts = np.bincount(labels.ravel())
    for value in np.flatnonzero(counts[1:]) + 1:
        found.setdefault(int(value), []).append(float(counts[value]) * ml)
    found.setdefault(0, []).append(float(counts[1:].sum()) * ml)


def named_volumes(
    volumes: Mapping[int, Sequence[float]], structures: Sequence[Any]
) -> dict[str, Sequence[float]]:
    """The same by a structure's name; all: ``""``."""
    names = {item.value: item.name for item in structures} | {0: ""}
    return {names[value]: found for value, found in volumes.items()}


def volumes_alone(volumes: Mapping[str, Sequence[float]], *, origin: str) -> VerdictInfo | None:
    """Limits of volumes only, as there are at the end of a training; None: of too few cases."""
    usuals = _usuals([], volumes)
    found = [_threshold(key, usual, _UNFITTED, 2.0) for key, usual in usuals.items()]
    return VerdictInfo(tuple(found), origin=origin) if found else None


def _usuals(good: Sequence[JudgedRun], volumes: Mapping[str, Sequence[float]]) -> Usuals:
    """:param volumes: of the training's label maps, which count in place of the runs' own."""
    seen: dict[Key, list[float]] = {}
    for run in good:
        for key, value in run.values.items():
            seen.setdefault(key, []).append(value)
    seen.update({("volume", name): list(values) for name, values in volumes.items()})
    if len({*seen.get(("thickness", ""), ())}) == 1:  # voxels of one size tell nothing of others
        del seen["thickness", ""]
    return {
        key: _Usual.of(key[0], values) for key, values in seen.items() if len(values) >= _FEWEST
    }


def _distances(runs: Sequence[JudgedRun], usuals: Usuals) -> np.ndarray:
    """(runs, :data:`SIGNALS`): the largest distance among a signal's structures."""
    table = np.zeros((len(runs), len(_NAMES)))
    for n, run in enumerate(runs):
        for key, value in run.values.items():
            if key in usuals:
                column = _NAMES.index(key[0])
                table[n, column] = max(table[n, column], usuals[key].distance(key[0], value))
    return table


def _good_distances(
    good: Sequence[JudgedRun], volumes: Mapping[str, Sequence[float]]
) -> np.ndarray:
    """Of each good run by what is usual of the other subjects: (runs, signals)."""
    rows = []
    for run in good:
        others = [other for other in good if other.subject != run.subject]
        # What one subject alone shows must not decide; with one subject there are no others.
        rows.append(_distances([run], _usuals(others or good, volumes))[0])
    return np.array(rows)


def _limit(distances: np.ndarray, subjects: Sequence[str]) -> float:
    """Which the worst good run of a further subject exceeds once in ten.

    A few subjects show too little of what is usual: the bound is that of a prediction from mean and
    deviation of the logarithms (Student's t), and no less than what one subject in ten exceeds.
    """
    worst: dict[str, float] = {}
    for subject, distance in zip(subjects, np.log(np.maximum(distances, _NEAR)), strict=True):
        worst[subject] = max(worst.get(subject, -np.inf), float(distance))
    ordered, count = np.sort(list(worst.values())), len(worst)
    seen = float(ordered[count - 1 - int(FLAGGED * count)])
    if count > 1:
        reach = float(stats.t.ppf(1 - FLAGGED, count - 1)) * (1 + 1 / count) ** 0.5
        seen = max(seen, float(ordered.mean()) + reach * float(ordered.std(ddof=1)))
    return float(np.exp(seen)) * 1.0001


def fit_thresholds(
    runs: Sequence[JudgedRun],
    volumes: Mapping[str, Sequence[float]],
    *,
    origin: str = "",
) -> VerdictInfo:
    """The limits, from good runs and from those spoilt in ways that are not set apart.

    :param volumes: ml of each structure in the training's label maps.
    """
    good = [run for run in runs if not run.kind]
    usuals, subjects = _usuals(good, volumes), [run.subject for run in good]
    near = _good_distances(good, volumes)
    alone = _NAMES.index("stability")
    limit = _limit(np.delete(near, alone, axis=1).max(axis=1), subjects)
    limits = dict.fromkeys(_NAMES, limit)
    # What ``full`` alone measures is as rare beyond its limit as all others together.
    seen = [any(key[0] == "stability" for key in run.values) for run in good]
    if any(seen):
        limits["stability"] = _limit(near[seen, alone], list(compress(subjects, seen)))
    factors = _implausible(runs, usuals, limits)
    thresholds = [
        _threshold(key, usual, limits[key[0]], factors[key[0]]) for key, usual in usuals.items()
    ]
    return VerdictInfo(tuple(thresholds), origin)


def _implausible(
    runs: Sequence[JudgedRun], usuals: Usuals, limits: Mapping[str, float]
) -> dict[str, float]:
    """Of each signal the least multiple of its limit beyond which runs are wrong."""
    seen = [run for run in runs if run.kind not in APART and run.values]
    severity = _distances(seen, usuals) / [limits[name] for name in _NAMES]
    quality = np.array([run.quality for run in seen])
    wrong = quality < WRONG * float(np.median([run.quality for run in seen if not run.kind]))
    factors = dict.fromkeys(_NAMES, _UNKNOWN)
    for column, name in enumerate(_NAMES):
        for factor in _FACTORS:
            beyond = severity[:, column] > factor
            if beyond.sum() >= _FEWEST and wrong[beyond].mean() >= _SURE:
                factors[name] = float(factor)
                break
    return factors


def _threshold(key: Key, usual: _Usual, limit: float, factor: float) -> Threshold:
    signal = SIGNALS[key[0]]

    def ends(by: float) -> tuple[float | None, float | None]:
        low = None if signal.bad == "high" else usual.middle - by * usual.below
        high = None if signal.bad == "low" else usual.middle + by * usual.above
        return _plain(signal.is_log, low), _plain(signal.is_log, high)

    typical = _plain(signal.is_log, usual.middle)
    return Threshold(*key, typical or 0.0, ends(limit), ends(limit * factor))


def _plain(is_log: bool, value: float | None) -> float | None:
    """Off the logarithm; None: there is no such end, or it lies where no volume can."""
    if value is None or (is_log and value <= log(LEAST)):
        return None
    return float(f"{exp(value) if is_log else value:.5g}")


def severity_of(run: JudgedRun, thresholds: Sequence[Threshold], *, mode: str = "fast") -> float:
    """As a verdict has it: above 1 is ``check``, from 2 on ``implausible``.

    :param mode: ``fast`` leaves out what only ``full`` measures.
    """
    found = run.rules
    for limit in thresholds:
        value = run.values.get((limit.signal, limit.structure))
        if value is not None and (mode == "full" or limit.signal in _FAST):
            found = max(found, limit.severity(value))
    return found
