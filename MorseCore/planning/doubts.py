"""What looks wrong in a data set, each doubt a sentence that names the cases."""

from collections.abc import Iterator, Sequence

from MorseCore.planning.layouts import FoundCase
from MorseCore.planning.measures import CaseMeasures, Fingerprint
from MorseCore.planning.names import Matching
from MorseCore.planning.places import odd_places

__all__ = ["doubts_about", "duplicates_of"]

_FEW = 5  # cases below which a validation says little


def doubts_about(
    cases: Sequence[FoundCase], matching: Matching, fingerprint: Fingerprint
) -> list[str]:
    """Sentences, the gravest first."""
    doubts = [*odd_places(fingerprint), *_copies(cases, fingerprint)]
    doubts += [*_rare(matching, fingerprint), *_grids(fingerprint), *_overlapping(fingerprint)]
    doubts += _channel_grids(fingerprint)
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


def _channel_grids(fingerprint: Fingerprint) -> Iterator[str]:
    for n, name in enumerate(fingerprint.channels):
        moved = [case.name for case in fingerprint.cases if case.channels[n].is_resampled]
        if moved:
            yield (
                f"The channel '{name}' of {_listed(moved)} lies on another grid than "
                f"'{next(iter(fingerprint.channels))}': it is brought to that grid."
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


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name}'" for name in names[:5]]
    if len(names) > 5:
        return f"{', '.join(shown)} and {len(names) - 5} more cases"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _hold(names: Sequence[str]) -> str:
    return "holds" if len(names) == 1 else "hold"
