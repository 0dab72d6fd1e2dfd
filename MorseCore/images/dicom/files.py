"""The files of a folder: images, other objects, and those that should be images and are not."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from MorseCore.errors import ImageError
from MorseCore.images.dicom.headers import DicomFile, NoPydicom, read_header
from MorseCore.system.files import printable

__all__ = ["Contents", "sort_files"]

_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", ".img")
_BESIDES = frozenset({
    "dicomdir", "lockfile", "version", "readme", "license", "licence", "copying", "checksums",
    "md5sums", "sha256sums", "thumbs.db", "desktop.ini", "autorun.inf",
})  # fmt: skip
"""Files without a telling suffix that lie on media beside images."""
_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".gz", ".zip")
"""What a half copied or a packed file has behind its name."""
_TEXT_HEAD = 1024  # bytes; what has no zero among them is taken for text


@dataclass
class Contents:
    """What a folder holds."""

    images: list[DicomFile] = field(default_factory=list)
    others: list[DicomFile] = field(default_factory=list)
    """DICOM objects that are no images: reports, contours, plans …"""
    damaged: list[str] = field(default_factory=list)
    """A sentence each."""
    folders: list[str] = field(default_factory=list)

    def check(self) -> None:
        """:raises ImageError: if a file is damaged, so that it cannot be told what is missing."""
        if self.damaged:
            more = len(self.damaged) - 1
            also = f"; {more} other file(s) of the folder are damaged, too." if more else "."
            raise ImageError(f"{self.damaged[0].rstrip('.')}{also}")


def sort_files(folder: Path) -> Contents:
    """Look at the header of every file; hidden ones and sub-folders are passed over.

    :raises OSError: if the folder cannot be listed.
    :raises NoPydicom: if this Python lacks pydicom.
    """
    contents, unknown = Contents(), list[Path]()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            contents.folders.append(printable(path.name))
            continue
        try:
            file = read_header(path)
        except NoPydicom:
            raise
        except ImageError as error:
            contents.damaged.append(str(error))
            continue
        if file is None:
            unknown.append(path)
        elif not file.is_directory:
            (contents.images if file.is_image else contents.others).append(file)
    families = {_family(file.path) for file in contents.images}
    contents.damaged += [_no_dicom(path) for path in unknown if _should_be_image(path, families)]
    series = {file.series for file in contents.images}
    contents.damaged += [
        f"{file.name} is of a series of images and has no pixels; copy it again."
        for file in contents.others
        if not file.is_registered and file.series in series
    ]
    return contents


def _should_be_image(path: Path, families: set[str]) -> bool:
    """Whether a file that is no DICOM is called like one, or like the folder's images."""
    if path.suffix.lower() in _UNFINISHED:
        return _family(path.with_suffix("")) in families
    if path.name.lower() in _BESIDES:
        return False
    family = _family(path)
    if family in _SUFFIXES:
        return family != ".img" or family in families  # .img: ANALYZE's voxels as well
    return family in families and not (family == "" and _is_text(path))


def _family(path: Path) -> str:
    """The suffix; none for names without one, and for those that end in a number (IM.0001)."""
    suffix = path.suffix.lower()
    return "" if re.fullmatch(r"\.?\d*", suffix) else suffix


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_TEXT_HEAD)
    except OSError:
        return False
    return bool(head) and b"\0" not in head


def _no_dicom(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        size = -1
    found = "it is empty (0 bytes)" if size == 0 else "its beginning is that of no DICOM file"
    return (
        f"{printable(path.name)} is called like an image of this folder, but {found}; copy it "
        "again, or take it out of the folder."
    )
