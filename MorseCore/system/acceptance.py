"""Refusals that can be wrong: a person who knows better overrules them, by name and knowingly."""

import logging
from collections.abc import Iterable, Mapping
from typing import NoReturn

from MorseCore.errors import ConfigError, MorseError

__all__ = ["ACCEPTABLE", "NOTHING", "Acceptance"]

ACCEPTABLE: Mapping[str, str] = {
    "mirrored-position": "a NIfTI file whose two positions exchange left and right",
    "unknown-sides": "an Analyze image, which does not say which side is left",
    "missing-values": "an image of which more than half has no value (NaN or infinite)",
    "flat-image": "an image in which all voxels but a few have one value",
    "label-map": "an image that looks like a segmentation",
    "spacing": "voxels more than 16 times as large as the model's, or as small",
    "memory": "a run that needs more memory than the machine has",
    "shared-images": "an image of the training that is in the validation or test split, too",
    "nothing-found": "a scan in which a model finds nothing that it trusts",
    "contrast": "an MR of another weighting than the model was trained on",
    "empty-slice": "a DICOM slice of zeros among slices that hold something",
    "missing-spacing": "a DICOM image alone that does not say how large its pixels are: 1 mm",
}
"""What ``--accept NAME`` can overrule, with what each means."""

log = logging.getLogger(__name__)


class Acceptance:
    """The refusals that a person overruled beforehand.

    Example::

        accepted = Acceptance(["mirrored-position"])
        sentence = accepted.refuse("mirrored-position", GeometryError("a.nii is mirrored."))
        # "a.nii is mirrored. (accepted: mirrored-position)", where an error was raised otherwise

    :param names: of :data:`ACCEPTABLE`.
    :param hint: how a person says so, with ``{name}`` in it.
    :raises ConfigError: for another name.
    """

    def __init__(self, names: Iterable[str] = (), *, hint: str = "--accept {name}") -> None:
        self.names, self._hint = frozenset(names), hint
        self.used: list[str] = []
        """Sentences of the refusals that were overruled, in their order."""
        unknown = sorted(self.names - set(ACCEPTABLE))
        if unknown:
            raise ConfigError(
                f"There is nothing to accept by the name '{unknown[0]}'; there are: "
                f"{', '.join(ACCEPTABLE)}."
            )

    def refuse(self, name: str, error: MorseError) -> str:
        """Raise an error, unless it was accepted: then log it.

        :param name: of :data:`ACCEPTABLE`.
        :return: the sentence for the report, where the error was accepted.
        :raises MorseError: the error, with how to accept it.
        """
        if name not in self.names:
            self._raise(name, error)
        sentence = f"{error} (accepted: {name})"
        log.warning("%s", sentence)
        self.used.append(sentence)
        return sentence

    def _raise(self, name: str, error: MorseError) -> NoReturn:
        sentence = str(error).rstrip(".")
        hint = self._hint.format(name=name)
        refusal = type(error)(f"{sentence}, or take it as it is with {hint}.")
        refusal.plain, refusal.accept = f"{sentence}.", name
        raise refusal from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Acceptance) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)


NOTHING = Acceptance()
"""Every refusal stands."""
