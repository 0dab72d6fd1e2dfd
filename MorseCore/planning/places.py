"""Whether the structures of a case lie as in the other cases: names exchanged, cases mirrored.

Arrays: ``N`` cases, ``S`` structures; a feature is a place in mm along R, A, S, counted from the
middle of the case's structures, and the volume (20 mm a factor of e).
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from MorseCore.planning.measures import CaseMeasures, Fingerprint

__all__ = ["odd_places"]

_BETTER = 0.5  # an explanation must bring structures so much nearer to where the others' are
_FAR = 3.0  # times the usual distance from there
_LEAST = 5.0  # mm; nearer, nothing can be said
_AGREEING = 0.8  # share of the other cases that must not lie mirrored: half may be left organs
_VOLUME = 20.0  # mm a factor of e
_WORDS = (("left", "right"), ("front", "back"), ("top", "bottom"))


def odd_places(fingerprint: Fingerprint) -> Iterator[str]:
    """Sentences about cases that fit better with two names exchanged, or in a mirror.

    Pictures lie in no patient, and two cases do not say which of them is odd.
    """
    if fingerprint.is_pictures or len(fingerprint.cases) < 3:
        return
    table = _features(fingerprint)
    for number, case in enumerate(fingerprint.cases):
        there = ~np.isnan(table[number, :, 0])
        others = np.delete(table, number, axis=0)[:, there]
        others = others[~np.isnan(others).any(axis=(1, 2))]
        if there.any() and len(others) >= 2:
            yield from _odd(case, _centred(table[number : number + 1, there])[0], _centred(others))


def _features(fingerprint: Fingerprint) -> np.ndarray:
    """(N, S, 4), NaN where a structure is not there."""
    names = sorted({name for case in fingerprint.cases for name in case.structures})
    table = np.full((len(fingerprint.cases), len(names), 4), np.nan)
    for row, case in zip(table, fingerprint.cases, strict=True):
        for name, one in case.structures.items():
            row[names.index(name)] = [*one.place, _VOLUME * np.log(max(one.ml, 1e-6))]
    return table


def _centred(features: np.ndarray) -> np.ndarray:
    """Places from the middle of the structures; of one structure from that of the image."""
    result = features.copy()
    if features.shape[1] > 1:
        result[..., :3] -= features[..., :3].mean(axis=1, keepdims=True)
    return result


def _odd(case: CaseMeasures, here: np.ndarray, others: np.ndarray) -> Iterator[str]:
    """:param here: (S, 4), in the order of the structures' names; ``others``: (N, S, 4)."""
    usual = np.median(others, axis=0)
    mirrors = [axis for axis in range(3) if _is_mirrored(here, others, usual, axis)]
    best = min((_misfit(here * _sign(axis), usual) for axis in mirrors), default=np.inf)
    swaps = _swaps(here, others, usual)
    names = sorted(case.structures)
    for first, second, misfit in swaps:
        if misfit < best:
            yield (
                f"In '{case.name}' the names '{names[first]}' and '{names[second]}' look swapped: "
                "in place and size each is what the other is in the other cases."
            )
    if any(misfit < best for *_, misfit in swaps):
        return
    for axis in mirrors:
        one, other = _WORDS[axis]
        yield (
            f"'{case.name}' lies mirrored, {one} and {other} exchanged, compared with the "
            f"{len(others)} other cases: its image or its header was flipped; mend it or leave it "
            "out."
        )


def _sign(axis: int) -> np.ndarray:
    sign = np.ones(4)
    sign[axis] = -1
    return sign


def _misfit(here: np.ndarray, usual: np.ndarray) -> float:
    return float(np.linalg.norm(here - usual, axis=1).sum())


def _is_mirrored(here: np.ndarray, others: np.ndarray, usual: np.ndarray, axis: int) -> bool:
    mine, theirs, middle = here[:, axis], others[..., axis], usual[:, axis]
    plain, turned = (np.abs(theirs + sign * middle).mean(axis=1) for sign in (-1, 1))
    if (plain < turned).mean() < _AGREEING:
        return False
    apart, mirrored = np.abs(mine - middle).mean(), np.abs(mine + middle).mean()
    return bool(apart > max(_FAR * np.median(plain), _LEAST) and mirrored < _BETTER * apart)


def _swaps(here: np.ndarray, others: np.ndarray, usual: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of structures that fit better exchanged, and how ill all structures fit then."""
    apart = np.linalg.norm(here[:, None] - usual[None], axis=2)  # (S, S)
    usually = np.median(np.linalg.norm(others - usual, axis=2).mean(axis=1))
    found = []
    for first, second in combinations(range(len(here)), 2):
        plain = apart[first, first] + apart[second, second]
        swapped = apart[first, second] + apart[second, first]
        if plain > 2 * max(_FAR * usually, _LEAST) and swapped < _BETTER * plain:
            found.append((first, second, float(np.trace(apart) - plain + swapped)))
    return found
