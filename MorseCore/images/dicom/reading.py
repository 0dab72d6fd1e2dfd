"""A volume from a DICOM folder or file, every file of its series accounted for."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.dicom.emptiness import check_filling
from MorseCore.images.dicom.files import Contents, sort_files
from MorseCore.images.dicom.frames import frames_of
from MorseCore.images.dicom.headers import DicomFile, begins_like_dicom, quiet_pydicom, read_header
from MorseCore.images.dicom.pixels import check_pixels, is_inverted, is_turned, read_pixels
from MorseCore.images.dicom.series import choose_series, group_by_series, matches
from MorseCore.images.dicom.stack import stack_frames
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.files import printable

__all__ = ["DicomVolume", "is_dicom", "read_dicom"]

logger = logging.getLogger(__name__)

_NEIGHBOURS = 32  # files looked at beside a single one


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """One scalar volume."""

    array: np.ndarray
    """(K, J, I), whole numbers or float32."""
    geometry: Geometry
    modality: str
    """DICOM's code (CT, MR, …)."""
    notes: list[str]
    """Sentences for the report, already logged."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do. :raises OSError: if it cannot be read."""
    with path.open("rb") as stream:
        return begins_like_dicom(stream.read(132))


def read_dicom(
    path: Path, *, series: str | None, volume: int | None, accepted: Acceptance
) -> DicomVolume | None:
    """Read a folder with a series, or a file; None if a file is no DICOM file after all.

    :param series: UID of the series to read from a folder with several, its beginning or its end.
    :param volume: which one to read from a series with several, counted from 0.
    :param accepted: refusals to overrule.
    :raises ImageError: if a file of the series is damaged, or it is not clear what to read.
    :raises GeometryError: if the slices make no grid.
    """
    with quiet_pydicom():
        if path.is_dir():
            files, notes = _files_of_folder(path, series)
        else:
            file = _single_file(path, series)
            if file is None:
                return None
            files, notes = [file], _note_neighbours(file)
        try:
            return _volume(files, notes, printable(path.name) or ".", volume, accepted)
        except MemoryError:
            raise ImageError(f"{path.name} does not fit into this machine's memory.") from None


def _volume(
    files: Sequence[DicomFile],
    notes: list[str],
    name: str,
    volume: int | None,
    accepted: Acceptance,
) -> DicomVolume:
    """The slices of one series, or one volume of them."""
    for file in files:
        check_pixels(file)
    frames = [frame for file in files for frame in frames_of(file)]
    stack = stack_frames(frames, name, volume=volume, accepted=accepted)
    array, filling = read_pixels(stack.frames)
    notes = notes + _note_inversion(files)
    for note in notes:
        logger.warning("%s", note)
    notes += stack.notes + check_filling(
        filling, [frame.name for frame in stack.frames], name, accepted
    )
    return DicomVolume(array, stack.geometry, files[0].elements.text("Modality"), notes)


def _files_of_folder(folder: Path, series: str | None) -> tuple[list[DicomFile], list[str]]:
    """The files of one series, and sentences about what is left out."""
    name = printable(folder.name) or "."
    try:
        contents = sort_files(folder)
    except OSError as error:
        raise ImageError(f"The folder '{name}' cannot be read: {error.strerror}.") from error
    contents.check()
    if not contents.images:
        raise ImageError(_nothing(contents, name))
    chosen, notes = choose_series(group_by_series(contents.images), series, name)
    if contents.others:
        notes.append(f"{name}: {_listed(contents.others)} are left out.")
    return chosen.files, notes


def _nothing(contents: Contents, name: str) -> str:
    """Why a folder cannot be read that holds no images."""
    if contents.others:
        return f"The folder '{name}' holds no images but {_listed(contents.others)}."
    if contents.folders:
        shown = ", ".join(f"'{item}'" for item in contents.folders[:5])
        more = ", …" if len(contents.folders) > 5 else ""
        return (
            f"The folder '{name}' itself holds no images, neither DICOM nor others; sub-folders "
            f"are not searched, so name one of them: {shown}{more}."
        )
    return (
        f"The folder '{name}' holds no images, neither DICOM nor others; sub-folders are not "
        "searched."
    )


def _listed(others: Sequence[DicomFile]) -> str:
    """``3 other DICOM object(s) (2 x Segmentation Storage, …)``."""
    kinds = Counter(file.kind for file in others).most_common()
    shown = ", ".join(f"{count} x {kind}" for kind, count in kinds[:4])
    return f"{len(others)} other DICOM object(s) ({shown}{', …' if len(kinds) > 4 else ''})"


def _single_file(path: Path, series: str | None) -> DicomFile | None:
    file = read_header(path)
    if file is None:
        return None
    if not file.is_image:
        raise ImageError(f"{file.name} is no image but a DICOM object ({file.kind}).")
    if series is not None and not matches(file.series, series):
        raise ImageError(
            f"{file.name} belongs to another series than '{series}'; its UID is "
            f"{printable(file.series) or 'missing'}."
        )
    return file


def _note_neighbours(file: DicomFile) -> list[str]:
    """A person who names one slice may mean the series."""
    if file.frames > 1 or not file.series:
        return []
    suffix = file.path.suffix.lower()
    try:
        others = (
            item
            for item in sorted(file.path.parent.iterdir())
            if item != file.path and item.suffix.lower() == suffix and item.is_file()
        )
        for item in islice(others, _NEIGHBOURS):
            other = _header_or_none(item)
            if other is not None and other.series == file.series:
                return [
                    f"{file.name} is one slice, and its folder holds more of its series "
                    f"({other.name}, …); give the folder to read the volume."
                ]
    except OSError:
        return []
    return []


def _header_or_none(path: Path) -> DicomFile | None:
    try:
        return read_header(path)
    except ImageError:
        return None


def _note_inversion(files: Sequence[DicomFile]) -> list[str]:
    odd = [file for file in files if is_inverted(file)]
    if not odd:
        return []
    what = (
        "its dark and bright values were exchanged, so that large ones are bright"
        if is_turned(odd[0])
        else "its values are taken as they are"
    )
    return [f"{odd[0].name} is to be shown inverted (MONOCHROME1); {what}."]
