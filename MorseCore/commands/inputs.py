"""Which scans a batch consists of, and what each is called."""

import glob
import unicodedata
from collections.abc import Iterable
from os.path import exists, isdir  # unlike Path's, they say no to what no path can be
from pathlib import Path

from MorseCore.errors import ConfigError
from MorseCore.images.names import IMAGE_SUFFIXES, name_without_suffix

__all__ = ["check_places", "find_cases", "output_beside"]

_BESIDE = "segmentations"
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def find_cases(inputs: Iterable[str | Path]) -> dict[str, Path]:
    """Case name -> image, for files, DICOM folders and folders of images.

    A file that is not there is a case as well: it will fail, and be in the table.

    :raises ConfigError: if two inputs would share a name, also on systems that do not tell ``A``
        from ``a``, or there is no input.
    """
    cases: dict[str, Path] = {}
    names: dict[str, str] = {}
    for path in (path for text in inputs for path in _expanded(str(text))):
        found = [path]
        if isdir(path):
            images = _images_in(path)
            found = images or [path]  # a folder without image files is taken as a DICOM series
        for image in found:
            name = _case_name(image)
            key = unicodedata.normalize("NFC", name).casefold()
            other = cases.get(names.setdefault(key, name))
            if other is not None and _resolved(other) != _resolved(image):
                raise ConfigError(
                    f"'{other}' and '{image}' would both be written to '{name}'; "
                    "segment them into different output folders."
                )
            cases[names[key]] = image
    if not cases:
        raise ConfigError("There is no image to segment.")
    return cases


def output_beside(first: str | Path) -> Path:
    """Where results go if nobody says: a folder beside the first input."""
    path = Path(first)
    if isdir(path):  # not into it: results would be found there as images the next time
        whole = path.resolve()
        return whole.with_name(f"{whole.name}-{_BESIDE}")
    return path.parent / _BESIDE


def check_places(cases: dict[str, Path], output: Path) -> None:
    """Refuse to write a case's results among its own input files.

    There they could overwrite the input, and would be taken as further images the next time.

    :raises ConfigError: naming the case.
    """
    for name, image in cases.items():
        folder, place = _resolved(output / name), _resolved(image)
        if _is_same(folder, place) or _is_same(folder, place.parent):
            raise ConfigError(
                f"The results of '{name}' would be written into the folder of its own input, "
                f"'{folder}'; choose another output folder."
            )


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder; none if it is a DICOM series, beside which a picture may lie."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:  # reading it will say why
        return []
    images = [path for path in files if _is_image(path)]
    only_pictures = all(path.suffix.lower() in _PICTURES for path in images)
    return [] if only_pictures and any(map(_is_dicom, files)) else images


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _expanded(text: str) -> list[Path]:
    """The files that a pattern names, which the shells of Windows leave to the program."""
    path = Path(text)
    if not text:
        raise ConfigError("An image or a folder is expected; found an empty name.")
    if "\0" in text:
        raise ConfigError(f"'{text}' is no path: it has a character of code zero in it.")
    if exists(path) or not any(mark in text for mark in "*?"):
        return [path]
    # Brackets are letters here: folders are named so.
    return [Path(name) for name in sorted(glob.glob(text.replace("[", "[[]")))] or [path]


def _resolved(path: Path) -> Path:
    """Without links; a link that leads to itself stays as it is, and reading it will say so."""
    try:
        return path.resolve()
    except (RuntimeError, OSError, ValueError):
        return path.absolute()


def _is_same(one: Path, other: Path) -> bool:
    """Whether both are one folder, also by names that a disk does not tell apart (A and a)."""
    if one == other:
        return True
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return False


def _is_image(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.name.lower().endswith(IMAGE_SUFFIXES)
    )


def _case_name(path: Path) -> str:
    name = path.name if path.name not in ("", "..") else path.resolve().name
    return name_without_suffix(name).rstrip(" .") or "case"  # Windows makes no folder that ends so
