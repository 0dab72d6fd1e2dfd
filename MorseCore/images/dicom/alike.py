"""Whether the slices of a series fit together: one patient, one place, one size, one direction."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.dicom.frames import DicomFrame

__all__ = ["check_alike", "check_directions", "check_doubles"]

T = TypeVar("T")
_SIZE = 1e-3  # of a pixel's size
_PLACE = 1e-3  # mm
_TURNED = 1e-3  # between components of directions
_IDENTITIES = {
    "PatientID": "is of another patient than",
    "StudyInstanceUID": "is of another study than",
    "FrameOfReferenceUID": "has another frame of reference, so another zero for its position, than",
    "Modality": "is of another modality than",
}


def check_doubles(frames: Sequence[DicomFrame]) -> None:
    """Refuse a file that is there twice, by two names.

    Some programs give all images of a series one UID; these lie at different places.

    :raises ImageError: naming both files.
    """
    seen: dict[tuple[str, int], DicomFrame] = {}
    for frame in frames:
        uid = frame.file.elements.text("SOPInstanceUID")
        other = seen.setdefault((uid, frame.index), frame)
        if uid and other is not frame and _is_one_place(other, frame):
            raise ImageError(
                f"{other.file.name} and {frame.file.name} are one image twice (by their "
                "SOPInstanceUID); take one of them out of the folder."
            )


def _is_one_place(one: DicomFrame, other: DicomFrame) -> bool:
    if one.position is None or other.position is None:
        return True
    return bool(np.abs(one.position - other.position).max() < _PLACE)


def check_alike(frames: Sequence[DicomFrame], name: str) -> None:
    """Refuse slices of several sizes, patients or places.

    :param name: of the folder, for messages.
    :raises ImageError: naming the file that differs from most.
    :raises GeometryError: if the pixels' sizes in mm differ.
    """
    sizes = [frame.file.size for frame in frames]
    usual = _commonest(sizes)
    odd = [frame for frame, size in zip(frames, sizes, strict=True) if size != usual]
    if odd:
        rows, columns = odd[0].file.size
        raise ImageError(
            f"{_named(odd)} has {columns} x {rows} pixels and the other slices of '{name}' have "
            f"{usual[1]} x {usual[0]}; all slices of a volume must have one size."
        )
    for keyword, what in _IDENTITIES.items():
        _check_identity(frames, name, keyword, what)
    _check_spacing(frames, name)


def check_directions(frames: Sequence[DicomFrame], name: str) -> None:
    """Refuse slices that are not parallel.

    :raises GeometryError: naming the file that is turned.
    """
    axes = np.array([frame.axes for frame in frames])
    usual = np.median(axes, axis=0)
    turned = np.abs(axes - usual).max(axis=(1, 2)) > _TURNED
    if turned.any():
        odd = [frame for frame, is_odd in zip(frames, turned, strict=True) if is_odd]
        raise GeometryError(
            f"The slices in '{name}' are turned against each other ({_named(odd)}); parallel "
            "slices are expected."
        )


def _check_identity(frames: Sequence[DicomFrame], name: str, keyword: str, what: str) -> None:
    """Values that are there must be one; some files may lack them."""
    values = [frame.file.elements.text(keyword) for frame in frames]
    stated = [value for value in values if value]
    usual = _commonest(stated) if stated else ""
    odd = [f for f, value in zip(frames, values, strict=True) if value not in ("", usual)]
    if odd:
        raise ImageError(f"{_named(odd)} {what} the other slices of '{name}'; take it out.")


def _check_spacing(frames: Sequence[DicomFrame], name: str) -> None:
    spacings = np.array([frame.spacing or (0.0, 0.0) for frame in frames])
    usual = np.median(spacings, axis=0)
    differs = (np.abs(spacings - usual) > _SIZE * usual.max()).any(axis=1)
    if not differs.any():
        return
    odd = [frame for frame, is_odd in zip(frames, differs, strict=True) if is_odd]
    found = odd[0].spacing
    has = (
        "does not say how large its pixels are (PixelSpacing)"
        if found is None
        else f"has pixels of {found[1]:g} x {found[0]:g} mm"
    )
    raise GeometryError(
        f"{_named(odd)} {has} and the other slices of '{name}' have pixels of {usual[1]:g} x "
        f"{usual[0]:g} mm; all slices of a volume must have one size."
    )


def _commonest(values: Sequence[T]) -> T:
    return Counter(values).most_common(1)[0][0]


def _named(frames: Sequence[DicomFrame]) -> str:
    """The first, and how many more there are."""
    more = f" (and {len(frames) - 1} more)" if len(frames) > 1 else ""
    return f"{frames[0].name}{more}"
