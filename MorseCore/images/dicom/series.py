"""Which of a folder's series is read: the only one, the one that was asked for, or most of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from MorseCore.errors import ImageError
from MorseCore.images.dicom.headers import DicomFile
from MorseCore.system.files import printable

__all__ = ["Series", "choose_series", "group_by_series", "matches"]

_CLEAR_MAJORITY = 0.9  # of a folder's images; the others are scouts then
_LISTED = 12  # series in a message
_SHORTEST_TAIL = 6  # characters of a UID


@dataclass(frozen=True, eq=False)
class Series:
    """Files that say they belong together."""

    uid: str
    files: list[DicomFile]

    @property
    def images(self) -> int:
        """Slices, of which a file may hold many."""
        return sum(_frames(file) for file in self.files)

    def describe(self, tail: str) -> str:
        """For a person who chooses; ``tail`` is the part of the UID that tells it from others."""
        elements = self.files[0].elements
        modality = printable(elements.text("Modality")) or "no modality"
        uid = f"UID {printable(tail)}" if self.uid else "no UID"
        return (
            f"'{elements.description() or 'no description'}' ({self.images} images, {modality}, "
            f"{uid})"
        )


def group_by_series(files: Sequence[DicomFile]) -> list[Series]:
    """All series, the largest first."""
    groups: dict[str, list[DicomFile]] = {}
    for file in files:
        groups.setdefault(file.series, []).append(file)
    series = [Series(uid, members) for uid, members in groups.items()]
    return sorted(series, key=lambda item: item.images, reverse=True)


def choose_series(
    series: Sequence[Series], wanted: str | None, folder: str
) -> tuple[Series, list[str]]:
    """The series to read, and sentences for the report.

    :param series: of the folder, the largest first.
    :param wanted: a UID, its beginning or its end; None: the only series, or the one that has
        nearly all of the images.
    :raises ImageError: if none or several match, or none was asked for and several are there.
    """
    if wanted is not None:
        found = [item for item in series if matches(item.uid, wanted)]
        exact = [item for item in found if item.uid == wanted.strip()]
        shown = " ".join(wanted.split())
        if len(exact) == 1 or len(found) == 1:
            return (exact or found)[0], []
        count = "no series" if not found else f"{len(found)} series"
        raise ImageError(
            f"The folder '{folder}' has {count} whose UID begins or ends with '{shown}'; there "
            f"{_listed(found or series)}."
        )
    largest, others = series[0], sum(item.images for item in series[1:])
    if largest.images < _CLEAR_MAJORITY * (largest.images + others):
        raise ImageError(
            f"The folder '{folder}' holds {len(series)} DICOM series and one is expected; choose "
            f"it with --series and the end of its UID: there {_listed(series)}."
        )
    if not others:
        return largest, []
    return largest, [
        f"{folder}: {others} other image(s) in the folder are left out, of {len(series) - 1} other "
        f"series ({series[1].describe(_tails(series)[1])}{', …' if len(series) > 2 else ''}); "
        "choose with --series."
    ]


def matches(uid: str, wanted: str) -> bool:
    """Whether a person may mean this UID: they gave its beginning or, as lists do, its end."""
    text = wanted.strip().strip(".…")
    return bool(text) and (uid.startswith(text) or uid.endswith(text))


def _listed(series: Sequence[Series]) -> str:
    pairs = list(zip(series, _tails(series), strict=True))
    shown = "; ".join(item.describe(tail) for item, tail in pairs[:_LISTED])
    more = f"; and {len(series) - _LISTED} more" if len(series) > _LISTED else ""
    return f"{'is' if len(series) == 1 else 'are'} {shown}{more}"


def _tails(series: Sequence[Series]) -> list[str]:
    """Ends of the UIDs by which a person can tell them apart and choose."""
    parts = max(item.uid.count(".") for item in series) + 1
    for count in range(1, parts):
        tails = [".".join(item.uid.split(".")[-count:]) for item in series]
        if len(set(tails)) == len(series) and min(map(len, tails)) >= _SHORTEST_TAIL:
            return [f"…{tail}" for tail in tails]
    return [item.uid for item in series]


def _frames(file: DicomFile) -> int:
    try:
        return file.frames
    except ImageError:  # is said when this series is the one to read
        return 1
