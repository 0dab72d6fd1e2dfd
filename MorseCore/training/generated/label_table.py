"""What the values of a label map mean: structures to find, their sides, and mere surroundings."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from MorseCore.errors import DatasetError

__all__ = ["LabelTable", "Tissue", "TISSUES", "opposite_side"]

Tissue = Literal["csf", "grey", "white"]
TISSUES: tuple[Tissue, ...] = ("csf", "grey", "white")

_SIDES = {"left": "right", "right": "left", "lh": "rh", "rh": "lh", "l": "r", "r": "l"}
_WORD = re.compile(r"(?<![A-Za-z0-9])(left|right|lh|rh|l|r)(?![A-Za-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class LabelTable:
    """The values that label maps hold, each with an *entry* number of its own, 0 … E-1.

    Maps are held as entries (uint8). Three small tables by entry turn them into what is needed:
    the class to find, the entry on the other side, the tissue.
    """

    values: tuple[int, ...]
    """Values by entry, rising; the first is 0, the background."""
    names: dict[int, str]
    """Class -> name, background (0) included."""
    classes: tuple[int, ...]
    """Class by entry; 0 for what is drawn but not to be found."""
    partners: tuple[int, ...]
    """Entry of the same structure on the other side; its own where there are no sides."""
    tissues: tuple[int, ...]
    """Index into :data:`TISSUES` by entry; -1 where none is known."""

    @classmethod
    def build(
        cls,
        structures: Mapping[str, Sequence[int]],
        *,
        surroundings: Iterable[int] = (),
        tissues: Mapping[str, Sequence[int]] | None = None,
        pairs: Sequence[tuple[str, str]] = (),
        is_mirrored: bool = True,
    ) -> "LabelTable":
        """The table of structures by name.

        :param structures: name -> values. All of them become the structure's class: ``1, 2, 3 …``
            in the order given. The n-th value of ``Left X`` is the partner of the n-th of
            ``Right X``.
        :param surroundings: values that are drawn and belong to no structure.
        :param tissues: ``csf``, ``grey`` or ``white`` -> values that look like it.
        :param pairs: structures that are each other's partner; empty: their names say it.
        :param is_mirrored: whether left and right are ever exchanged.
        :raises DatasetError: if a value is there twice, is no label, or a side lacks its partner.
        """
        owner = _owners(structures, surroundings)
        if len(owner) > 256:
            raise DatasetError(f"At most 256 different labels can be drawn; found {len(owner)}.")
        values = tuple(sorted(owner))
        entry = {value: n for n, value in enumerate(values)}
        partner = _partners(structures, pairs, is_mirrored=is_mirrored)
        kinds = {v: TISSUES.index(_tissue(t)) for t, vs in (tissues or {}).items() for v in vs}
        for value in kinds:
            if value not in entry:
                raise DatasetError(f"'tissues' names the label {value}, which is in no structure.")
        return cls(
            values,
            dict(enumerate(["background", *structures])),
            tuple(owner[value] for value in values),
            tuple(entry[partner.get(value, value)] for value in values),
            tuple(kinds.get(value, -1) for value in values),
        )

    @property
    def num_classes(self) -> int:
        """C, background included."""
        return len(self.names)

    @property
    def is_surrounded(self) -> bool:
        """Whether something is drawn around the structures."""
        return sum(c == 0 for c in self.classes) > 1

    def class_of(self, *, mirrored: bool) -> Tensor:
        """(E,) uint8, the class by entry; with sides exchanged if the image is mirrored."""
        classes = torch.tensor(self.classes, dtype=torch.uint8)
        return classes[list(self.partners)] if mirrored else classes

    @property
    def sides(self) -> tuple[int, ...]:
        """Class on the other side by class; its own where there are no sides."""
        other = list(range(self.num_classes))
        for mine, partner in zip(self.classes, self.partners, strict=True):
            other[mine] = self.classes[partner]
        return tuple(other)


def opposite_side(name: str) -> str | None:
    """The name of the same structure on the other side; None if the name has no side.

    ``Left hippocampus`` and ``Right hippocampus``, ``hippocampus_L``, ``lh.cortex``.
    """
    found = list(_WORD.finditer(name))
    if len(found) != 1:
        return None
    word = found[0].group()
    other = _SIDES[word.lower()]
    other = other.upper() if word.isupper() else other.title() if word.istitle() else other
    return name[: found[0].start()] + other + name[found[0].end() :]


def _owners(structures: Mapping[str, Sequence[int]], surroundings: Iterable[int]) -> dict[int, int]:
    """Class by value."""
    if not structures:
        raise DatasetError("There is no structure to find.")
    owner = {0: 0}
    named = [(n, v) for n, values in enumerate(structures.values(), 1) for v in values]
    for number, value in [*named, *((0, value) for value in surroundings)]:
        if value in owner:
            raise DatasetError(f"The label {value} is named twice; each has one meaning.")
        if value < 0:
            raise DatasetError(f"Labels must not be negative; found {value}.")
        owner[value] = number
    for name, values in structures.items():
        if not values:
            raise DatasetError(f"The structure '{name}' has no label.")
    return owner


def _partners(
    structures: Mapping[str, Sequence[int]], pairs: Sequence[tuple[str, str]], *, is_mirrored: bool
) -> dict[int, int]:
    """Value on the other side by value."""
    partner: dict[int, int] = {}
    stated = {name: other for pair in pairs for name, other in (pair, pair[::-1])}
    for name, values in structures.items():
        other = stated.get(name) if pairs else opposite_side(name)
        if other is None or (other not in structures and not is_mirrored):
            continue
        if other not in structures:
            raise DatasetError(
                f"'{name}' lacks its partner '{other}': images are mirrored in training, and the "
                "structure then lies on the other side. Add it, or set 'generation.ranges.mirror' "
                "to 0."
            )
        if len(structures[other]) != len(values):
            raise DatasetError(f"'{name}' and '{other}' must have the same number of labels.")
        partner.update(zip(values, structures[other], strict=True))
    return partner


def _tissue(name: str) -> Tissue:
    for tissue in TISSUES:
        if name == tissue:
            return tissue
    raise DatasetError(f"'tissues' knows {', '.join(TISSUES)}; found '{name}'.")
