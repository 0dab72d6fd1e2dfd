"""Which structure a number means in which file: structures are matched by their names.

A number alone is never trusted: two files of Slicer's may call liver 1 and 2. Where no file says a
name, a structure is called ``label 1``, and that is said.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from MorseCore.errors import DatasetError
from MorseCore.images.imageio import read_volume
from MorseCore.images.segmentationfile import is_segmentation, read_segments
from MorseCore.planning.layouts import FoundCase, LabelFile

__all__ = [
    "Matching",
    "Part",
    "PlannedStructure",
    "key_of",
    "match_names",
    "pair_sides",
    "parts_of",
    "side_of",
]

_SIDES = {"l": "left", "lt": "left", "lft": "left", "left": "left",
          "r": "right", "rt": "right", "rgt": "right", "right": "right"}  # fmt: skip
_MEANINGLESS = {"SCT^85756007"}  # "Tissue", which Slicer gives to each new segment
_ALIKE = 0.8  # of difflib; "livr" and "liver" have 0.89
_MOST = 255  # structures
_MOST_WITHOUT_NAMES = 255


@dataclass(frozen=True)
class Part:
    """A segment: a value in a layer of one of a case's label files."""

    file: int
    value: int
    name: str
    layer: int = 0
    code: str = ""
    is_mask: bool = False
    """Every value above 0 is meant."""


@dataclass(frozen=True)
class PlannedStructure:
    """What is learned: one foreground class."""

    value: int
    name: str
    spellings: dict[str, list[str]] = field(default_factory=dict)
    """As files write it -> the cases."""
    numbers: dict[str, list[str]] = field(default_factory=dict)
    """Its number in files -> the cases."""
    unannotated: list[str] = field(default_factory=list)
    """The cases whose files do not name it: it may be there all the same."""


@dataclass(frozen=True)
class Matching:
    """Structures, and where each case has them."""

    structures: tuple[PlannedStructure, ...]
    parts: Mapping[str, Mapping[int, tuple[Part, ...]]]
    """Case -> value of the structure -> its segments."""
    notes: tuple[str, ...]
    """Sentences."""

    def unannotated_in(self, case: str) -> tuple[str, ...]:
        """Names of the structures that a case says nothing about."""
        return tuple(s.name for s in self.structures if case in s.unannotated)


def key_of(name: str) -> str:
    """What two spellings of one name have in common.

    >>> key_of("Kidney_L"), key_of("leftKidney"), key_of("kidney, left")
    ('left kidney', 'left kidney', 'left kidney')
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.split(r"[\W_]+", apart.lower())
    words = [word for word in words if word]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    return " ".join([*sides, *(word for word in words if word not in _SIDES)])


def side_of(name: str) -> str:
    """``left``, ``right`` or nothing."""
    first = key_of(name).partition(" ")[0]
    return first if first in ("left", "right") else ""


def pair_sides(names: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Left and right of each structure that has both, and the names that lack their partner."""
    by_key = {key_of(name): name for name in names}
    pairs, alone = [], []
    for key, name in by_key.items():
        side, _, rest = key.partition(" ")
        if side_of(name):
            partner = by_key.get(f"{'right' if side == 'left' else 'left'} {rest}")
            if partner is None:
                alone.append(name)
            elif side == "left":
                pairs.append((name, partner))
    return pairs, alone


def parts_of(case: FoundCase) -> tuple[tuple[Part, ...], bool]:
    """The segments of a case, and whether a name that is missing there means nothing.

    :raises DatasetError: if a label file cannot be read.
    """
    parts: list[Part] = []
    says_all = True
    for number, label in enumerate(case.labels):
        found, is_whole = _parts_of_file(label, number)
        parts += found
        says_all = says_all and is_whole
    return tuple(parts), says_all


def _parts_of_file(label: LabelFile, number: int) -> tuple[list[Part], bool]:
    if label.mask_of:
        return [Part(number, 1, label.mask_of, is_mask=True)], False
    if label.names:
        parts = [Part(number, value, name) for value, name in label.names.items()]
        return parts, label.says_all
    if label.path.suffix.lower() in (".nrrd", ".nhdr"):
        segments = read_segments(label.path)
        if segments or is_segmentation(label.path):
            return [Part(number, s.value, s.name, s.layer, s.code) for s in segments], False
    array = read_volume(label.path).array
    values = np.unique(array[array != 0])
    if len(values) > _MOST_WITHOUT_NAMES or (values != np.round(values)).any():
        raise DatasetError(
            f"'{label.path}' is no label map: it has {len(values)} different values, not a whole "
            "number a structure."
        )
    return [Part(number, int(value), f"label {int(value)}") for value in values], True


def match_names(
    cases: Sequence[FoundCase],
    found: Mapping[str, tuple[tuple[Part, ...], bool]],
    *,
    names: Mapping[str, str],
    unannotated: Mapping[str, Sequence[str]],
) -> Matching:
    """One structure for all spellings of a name.

    :param found: case -> what :func:`parts_of` says.
    :param names: what the person says: a name as written -> the name meant; empty: left out.
    :param unannotated: what the person says: case -> structures that were not drawn there.
    :raises DatasetError: if nothing is left, or the person names what is not there.
    """
    every = [part for parts, _ in found.values() for part in parts]
    wanted = {key_of(written): meant for written, meant in names.items()}
    _check_known(wanted, {key_of(p.name): p.name for p in every}, "names")
    codes = _telling_codes(found)
    groups: dict[str, PlannedStructure] = {}
    placed: dict[str, dict[str, list[Part]]] = {}
    for case in cases:
        mine: dict[str, list[Part]] = {}
        for part in found[case.name][0]:
            meant = wanted.get(key_of(part.name), part.name)
            if not meant:
                continue
            key = codes.get(part.code) if meant == part.name else None
            key = key or key_of(meant)
            group = groups.setdefault(key, PlannedStructure(len(groups) + 1, meant))
            group.spellings.setdefault(part.name, []).append(case.name)
            number = "mask" if part.is_mask else str(part.value)
            group.numbers.setdefault(number, []).append(case.name)
            mine.setdefault(key, []).append(part)
        placed[case.name] = mine
    if not groups:
        raise DatasetError("No label file names or holds a structure; there is nothing to learn.")
    if len(groups) > _MOST:
        raise DatasetError(f"There are {len(groups)} structures; at most {_MOST} can be learned.")
    _check_known(dict.fromkeys(unannotated, ""), {n: n for n in placed}, "unannotated")
    for key, group in groups.items():
        for name, mine in placed.items():
            said = {key_of(n) for n in unannotated.get(name, ())}
            if key in said or (key not in mine and not found[name][1]):
                group.unannotated.append(name)
    structures = tuple(groups.values())
    parts = {name: {groups[k].value: tuple(p) for k, p in mine.items()}
             for name, mine in placed.items()}  # fmt: skip
    return Matching(structures, parts, tuple(_notes(structures, len(cases), codes)))


def _telling_codes(found: Mapping[str, tuple[tuple[Part, ...], bool]]) -> dict[str, str]:
    """Terminology code -> key of the name it was first seen with; no code that says too little."""
    keys: dict[str, str] = {}
    vague = set(_MEANINGLESS)
    for parts, _ in found.values():
        mine: dict[str, str] = {}
        for part in parts:
            if part.code and mine.setdefault(part.code, key_of(part.name)) != key_of(part.name):
                vague.add(part.code)
        for code, key in mine.items():
            keys.setdefault(code, key)
    return {code: key for code, key in keys.items() if code not in vague}


def _check_known(said: Iterable[str], known: Mapping[str, str], where: str) -> None:
    for name in said:
        if name not in known:
            shown = ", ".join(list(known.values())[:20])
            raise DatasetError(
                f"'{where}' speaks of '{name}', which is not there; there is {shown}."
            )


def _notes(
    structures: Sequence[PlannedStructure], cases: int, codes: Mapping[str, str]
) -> Iterable[str]:
    for one in structures:
        others = [written for written in one.spellings if written != one.name]
        if others:
            shown = ", ".join(f"'{o}' ({len(one.spellings[o])} cases)" for o in others)
            yield f"'{one.name}' is also written {shown}: they are taken as one structure."
        if len(one.numbers) > 1:
            yield _numbers_differ(one)
        if one.unannotated:
            shown = ", ".join(one.unannotated[:5]) + (", …" if len(one.unannotated) > 5 else "")
            yield (
                f"'{one.name}' is not annotated in {len(one.unannotated)} of {cases} cases "
                f"({shown}): what is drawn there says nothing about it, and it is not taken for "
                "absent."
            )
        if one.name.startswith("label "):
            yield (
                f"No file says what the number {one.name[6:]} means; it is called '{one.name}' "
                f'("names.{one.name}=NAME" gives it a name).'
            )
    yield from _near_misses(structures)


def _numbers_differ(one: PlannedStructure) -> str:
    most = max(one.numbers, key=lambda n: len(one.numbers[n]))
    rest = [f"{n} in {', '.join(c[:3])}" for n, c in one.numbers.items() if n != most]
    return (
        f"The number of '{one.name}' is {most} in {len(one.numbers[most])} cases, but "
        f"{' and '.join(rest)}: names are followed, not numbers."
    )


def _near_misses(structures: Sequence[PlannedStructure]) -> Iterable[str]:
    """Two names that are nearly one, of which no case has both."""
    for first in structures:
        for second in structures:
            ours, theirs = (
                {c for cases in s.spellings.values() for c in cases} for s in (first, second)
            )
            likeness = difflib.SequenceMatcher(None, key_of(first.name), key_of(second.name))
            is_rarer = len(theirs) < len(ours) or (
                len(theirs) == len(ours) and second.value > first.value
            )
            if (
                is_rarer
                and not ours & theirs
                and likeness.ratio() >= _ALIKE
                and (side_of(first.name) == side_of(second.name))
            ):
                yield (
                    f"'{second.name}' ({', '.join(sorted(theirs)[:3])}) may be '{first.name}' "
                    f'misspelt: "names.{second.name}={first.name}" makes them one.'
                )
