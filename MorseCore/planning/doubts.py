"""What looks wrong in a data set, each doubt a sentence that names the cases."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from MorseCore.planning.layouts import FoundCase
from MorseCore.planning.measures import CaseMeasures, Fingerprint
from MorseCore.planning.names import Matching

__all__ = ["doubts_about", "duplicates_of"]

_FEW = 5  # cases below which a validation says little
_MIRRORED = 0.5  # a mirrored place must lie so much nearer to where the others' is
_FAR = 3.0  # times the usual distance from there
_AGREEING = 0.8  # share of the other cases that must lie as usual
_LEAST = 5.0  # mm; nearer, nothing can be said


def doubts_about(
    cases: Sequence[FoundCase], matching: Matching, fingerprint: Fingerprint
) -> list[str]:
    """Sentences, the gravest first."""
    doubts = [*_swapped(fingerprint), *_mirrored(fingerprint), *_copies(cases, fingerprint)]
    doubts += [*_rare(matching, fingerprint), *_grids(fingerprint), *_overlapping(fingerprint)]
    count = len({case.subject for case in cases})
    if count < _FEW:
        many = "is only 1 subject" if count == 1 else f"are only {count} subjects"
        doubts.append(
            f"There {many}: the figures on those set aside will say little, and a network learns "
            "these people by heart."
        )
    return doubts


def duplicates_of(cases: Sequence[CaseMeasures]) -> list[list[str]]:
    """Groups of cases whose images show the same, voxel by voxel."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        if case.digest:
            groups.setdefault(case.digest, []).append(case.name)
    return [group for group in groups.values() if len(group) > 1]


def _copies(cases: Sequence[FoundCase], fingerprint: Fingerprint) -> Iterator[str]:
    subjects = {case.name: case.subject for case in cases}
    for group in duplicates_of(fingerprint.cases):
        others = len({subjects[name] for name in group}) > 1
        who = " although they are called different subjects" if others else ""
        yield (
            f"{_listed(group)} show the same image{who}: they are kept together in one part of the "
            "split; remove all but one."
        )


def _rare(matching: Matching, fingerprint: Fingerprint) -> Iterator[str]:
    total = len(fingerprint.cases)
    for one in matching.structures:
        there = [case.name for case in fingerprint.cases if one.name in case.structures]
        asked = [c.name for c in fingerprint.cases if c.name not in one.unannotated]
        if not there:
            yield f"'{one.name}' is named, but no case holds it: nothing can be learned of it."
        elif len(there) == 1 and total > 1:
            yield (
                f"'{one.name}' is in one case only ({there[0]}): it can be learned, or measured, "
                "but not both."
            )
        elif len(there) < len(asked):
            lacking = [name for name in asked if name not in there]
            yield (
                f"{_listed(lacking)} {_hold(lacking)} no '{one.name}', which {len(there)} cases "
                f"hold: it is taken for absent there. If it was not annotated, say "
                f"unannotated.{lacking[0]}='[\"{one.name}\"]'."
            )


def _grids(fingerprint: Fingerprint) -> Iterator[str]:
    moved = [case.name for case in fingerprint.cases if case.is_resampled]
    if moved:
        yield (
            f"The labels of {_listed(moved)} lie on another grid than the image: they are brought "
            "to the image's grid."
        )


def _overlapping(fingerprint: Fingerprint) -> Iterator[str]:
    sums: dict[tuple[str, str], list[str]] = {}
    for case in fingerprint.cases:
        for pair in case.overlaps:
            sums.setdefault(pair, []).append(case.name)
    for (first, second), names in sums.items():
        yield (
            f"'{first}' and '{second}' overlap in {_listed(names)}: where both are, the one that "
            "stands first in the plan's 'priority' wins."
        )


def _mirrored(fingerprint: Fingerprint) -> Iterator[str]:
    """Cases whose structures lie as in a mirror, compared with the middle of the others."""
    if fingerprint.is_pictures or len(fingerprint.cases) < 3:
        return
    swapped = [*_swapped(fingerprint)]
    words = (("left", "right"), ("front", "back"), ("top", "bottom"))
    for axis, (one, other) in enumerate(words):
        table = [_offsets(case, axis) for case in fingerprint.cases]
        for case, mine in zip(fingerprint.cases, table, strict=True):
            others = [offsets for offsets in table if offsets is not mine]
            shared = [k for k in mine if sum(k in o for o in others) >= 2]
            if not shared:
                continue
            usual = np.array([np.median([o[k] for o in others if k in o]) for k in shared])
            here = np.array([mine[k] for k in shared])
            spread = np.median(
                [np.abs([o[k] - u for k, u in zip(shared, usual, strict=True) if k in o]).mean()
                 for o in others if any(k in o for k in shared)]
            )  # fmt: skip
            if _agreeing(others, shared, usual) < _AGREEING * len(others):
                continue
            apart, mirrored = np.abs(here - usual).mean(), np.abs(here + usual).mean()
            is_apart = apart > max(_FAR * spread, _LEAST) and mirrored < _MIRRORED * apart
            if is_apart and not any(f"'{case.name}'" in said for said in swapped):
                yield (
                    f"'{case.name}' lies mirrored, {one} and {other} exchanged, compared with the "
                    f"{len(others)} other cases: its image or its header was flipped; mend it or "
                    "leave it out."
                )


def _agreeing(
    others: Sequence[dict[tuple[str, str], float]], keys: Sequence[tuple[str, str]],
    usual: np.ndarray,
) -> int:  # fmt: skip
    """How many cases lie as usual rather than mirrored: of single organs half may be left ones."""
    count = 0
    for offsets in others:
        pairs = [(offsets[k], u) for k, u in zip(keys, usual, strict=True) if k in offsets]
        count += sum(abs(o - u) for o, u in pairs) < sum(abs(o + u) for o, u in pairs)
    return count


def _offsets(case: CaseMeasures, axis: int) -> dict[tuple[str, str], float]:
    """Distances in mm between structures, or of the only one from the image's centre."""
    places = {name: m.place[axis] for name, m in case.structures.items()}
    if len(places) == 1:
        ((name, place),) = places.items()
        return {(name, ""): place}
    return {(a, b): places[a] - places[b] for a, b in combinations(sorted(places), 2)}


def _swapped(fingerprint: Fingerprint) -> Iterator[str]:
    """Cases in which two structures' names fit better the other way round."""
    if fingerprint.is_pictures or len(fingerprint.cases) < 3:
        return
    for case in fingerprint.cases:
        others = [other for other in fingerprint.cases if other is not case]
        for first, second in combinations(sorted(case.structures), 2):
            misfit = _misfit_swapped(case, others, first, second)
            if misfit is not None and misfit < _misfit_mirrored(case, others):
                yield (
                    f"In '{case.name}' the names '{first}' and '{second}' look swapped: in place "
                    "and size each is what the other is in the other cases."
                )


def _features(case: CaseMeasures, name: str, anchors: Sequence[str]) -> np.ndarray:
    """Place in mm from the middle of all structures, and volume as 20 mm a factor of e."""
    middle = np.mean([case.structures[n].place for n in anchors], axis=0)
    one = case.structures[name]
    return np.array([*(np.array(one.place) - middle), 20 * np.log(max(one.ml, 1e-6))])


def _usual(
    case: CaseMeasures, others: Sequence[CaseMeasures]
) -> tuple[list[str], dict[str, np.ndarray], float]:
    """A case's structures, what the others' features of them are, and how far these scatter."""
    names = sorted(case.structures)
    same = [other for other in others if set(names) <= set(other.structures)]
    if len(same) < 2:
        return names, {}, 0.0
    usual = {n: np.median([_features(o, n, names) for o in same], axis=0) for n in names}
    scatter = [np.mean([_far(_features(o, n, names), usual[n]) for n in names]) for o in same]
    return names, usual, float(np.median(scatter))


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b))


def _misfit_swapped(
    case: CaseMeasures, others: Sequence[CaseMeasures], first: str, second: str
) -> float | None:
    """How ill all structures fit with two names exchanged; None if they fit well as they are."""
    names, usual, scatter = _usual(case, others)
    if not usual:
        return None
    here = {n: _features(case, n, names) for n in names}
    other = {first: second, second: first}
    plain, swapped = (
        sum(_far(here[n], usual[exchanged.get(n, n)]) for n in (first, second))
        for exchanged in ({}, other)
    )
    if plain <= 2 * max(_FAR * scatter, _LEAST) or swapped >= _MIRRORED * plain:
        return None
    return sum(_far(here[n], usual[other.get(n, n)]) for n in names)


def _misfit_mirrored(case: CaseMeasures, others: Sequence[CaseMeasures]) -> float:
    """How ill all structures fit in a mirror, along the axis where they fit best."""
    names, usual, _ = _usual(case, others)
    found = [np.inf]
    for axis in range(3) if usual else ():
        sign = np.ones(4)
        sign[axis] = -1
        found.append(sum(_far(sign * _features(case, n, names), usual[n]) for n in names))
    return float(min(found))


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name}'" for name in names[:5]]
    if len(names) > 5:
        return f"{', '.join(shown)} and {len(names) - 5} more cases"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _hold(names: Sequence[str]) -> str:
    return "holds" if len(names) == 1 else "hold"
