"""Which scans a batch consists of, and what each is called.

Files, DICOM folders and folders of images are named by themselves. Below a folder scans are found
as labs keep them: BIDS data sets, trees of DICOM series, images in folders of their own. For a
model that sees several images of a case, these are one case.
"""

import csv
import glob
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath, exists, isdir  # unlike Path's, they say no to what no path can be
from pathlib import Path

from MorseCore.errors import ConfigError, ImageError
from MorseCore.images.bids import bids_images
from MorseCore.images.names import (
    IMAGE_SUFFIXES,
    channel_number,
    channel_paths,
    name_without_suffix,
)
from MorseCore.quality.pages import PICTURES
from MorseCore.system.files import printable

__all__ = ["Scan", "check_places", "find_cases", "output_beside"]

_BESIDE = "segmentations"
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LIST_COLUMNS = ("path", "case", "series")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """Where a case is read from."""

    path: Path
    """A file, or a DICOM folder."""
    series: str | None = None
    """UID of the series, where a folder of a tree holds several."""
    others: tuple[Path, ...] = ()
    """Its further channels, for a model of several (:mod:`MorseCore.images.channels`)."""


@dataclass(frozen=True)
class _Wanted:
    """What is looked for in folders."""

    contrast: str | None
    series: str | None
    channels: Sequence[str]


def find_cases(
    inputs: Iterable[str | Path],
    *,
    contrast: str | None = None,
    series: str | None = None,
    channels: Sequence[str] = (),
) -> dict[str, Scan]:
    """Case name -> scan, for files, DICOM folders, folders, patterns and lists (``.csv``).

    Two scans of equal names in different folders are called by their paths below the folder that
    holds both. A file that is not there is a case as well: it will fail, and be in the table.

    :param contrast: of the model, which chooses among a BIDS data set's images.
    :param series: UID of the series wanted, its beginning or its end.
    :param channels: of the model, where it sees several images of a case.
    :raises ConfigError: if two inputs would share a name, also on systems that do not tell ``A``
        from ``a``, a list makes no sense, or there is no input.
    """
    wanted = _Wanted(contrast, series, channels)
    found: dict[str, dict[tuple[Path, str | None], tuple[str, Scan]]] = {}
    for path in (path for text in inputs for path in _expanded(str(text))):
        for name, scan in _scans_of(path, wanted):
            same = found.setdefault(_key(name), {})
            same[_resolved(scan.path), scan.series] = (name, scan)
    cases: dict[str, Scan] = {}
    names: dict[str, str] = {}
    for same in found.values():
        pairs = list(same.values())
        for name, scan in pairs if len(pairs) == 1 else _named_by_folders(pairs):
            other = names.setdefault(_key(name), name)
            if other in cases:
                raise ConfigError(
                    f"'{cases[other].path}' and '{scan.path}' would both be written to '{other}'; "
                    "segment them into different output folders."
                )
            cases[other] = scan
    if not cases:
        raise ConfigError("There is no image to segment.")
    return cases


def _scans_of(path: Path, wanted: _Wanted) -> list[tuple[str, Scan]]:
    """The scans that one input stands for."""
    if isdir(path):
        return _search(path, path, wanted) or [(_case_name(path), Scan(path))]
    if path.suffix.lower() == ".csv":
        return _listed(path, wanted)
    return [_case_of(path, wanted)]


def _case_of(path: Path, wanted: _Wanted) -> tuple[str, Scan]:
    """The case that an image file is, or is a channel of."""
    if not wanted.channels:
        return _case_name(path), Scan(path)
    first, *others = channel_paths(path, len(wanted.channels))
    name = _case_name(first)
    if others[0] != first:
        name, _ = channel_number(name)
    return name, Scan(first, others=tuple(others))


def _search(folder: Path, root: Path, wanted: _Wanted) -> list[tuple[str, Scan]]:
    """The scans in a folder and below it; results of earlier runs are passed over.

    Those of the root keep the names of their files, deeper ones are called by their paths.
    """
    bids = bids_images(folder, wanted.contrast)
    if bids is not None:
        return [(_case_name(path), Scan(path)) for path in bids]
    images, has_dicom = _images_in(folder)
    if folder == root:
        found = [_case_of(path, wanted) for path in images]
        found += [(_case_name(folder), Scan(folder))] if has_dicom else []
    else:
        parts = folder.relative_to(root).parts
        pairs = (_case_of(path, wanted) for path in images)
        found = [("_".join([*parts, name]), scan) for name, scan in pairs]
        found += _series_in(folder, "_".join(parts), wanted.series) if has_dicom else []
    for deeper in _folders_in(folder):
        found += _search(deeper, root, wanted)
    return found


def _series_in(folder: Path, name: str, wanted: str | None) -> list[tuple[str, Scan]]:
    """A case for each series of a folder in a tree; they are listed before anything is computed."""
    from MorseCore.images.dicom.files import sort_files
    from MorseCore.images.dicom.headers import quiet_pydicom
    from MorseCore.images.dicom.series import group_by_series, matches

    try:
        with quiet_pydicom():
            series = group_by_series(sort_files(folder).images)
            if wanted is not None:
                series = [item for item in series if matches(item.uid, wanted)]
            series.sort(key=lambda item: item.uid)
            for item in series:
                log.info("found %s: %s", printable(str(folder)), item.describe(item.uid))
            numbers = [item.files[0].elements.text("SeriesNumber") for item in series]
    except (ImageError, OSError):  # reading it will say why
        return [(name, Scan(folder))]
    if len(series) < 2 and wanted is None:
        return [(name, Scan(folder))]
    is_clear = all(map(str.isdecimal, numbers)) and len({*numbers}) == len(numbers)
    ends = [f"series{n}" for n in numbers] if is_clear else [item.uid for item in series]
    return [
        (f"{name}_{end}", Scan(folder, item.uid)) for end, item in zip(ends, series, strict=True)
    ]


def _listed(path: Path, wanted: _Wanted) -> list[tuple[str, Scan]]:
    """The scans of a list: ``path``, from the list's folder; if wanted ``case`` and ``series``.

    For a model of several channels a list may have a column for each, called like it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="", restval="")
            rows, columns = list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise ConfigError(f"The list '{path}' cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error):
        raise ConfigError(f"The list '{path}' is no CSV file in UTF-8.") from None
    if wanted.channels and "path" not in columns:
        return _listed_channels(path, rows, wanted.channels)
    if "path" not in columns:
        raise ConfigError(
            f"The list '{path}' needs a column 'path' ('case' and 'series' are optional); found "
            f"{', '.join(map(repr, columns)) or 'nothing'}."
        )
    found = []
    for row in rows:
        place, case, series = ((row.get(key) or "").strip() for key in _LIST_COLUMNS)
        if place:
            name, scan = _case_of(path.parent / place, wanted)
            scan = replace(scan, series=series or None)
            found.append((_checked(case, path) if case else name, scan))
    return found


def _listed_channels(
    path: Path, rows: Iterable[dict[str, str]], channels: Sequence[str]
) -> list[tuple[str, Scan]]:
    """A line a case, a column a channel."""
    found = []
    for number, row in enumerate(rows, start=2):
        places = [(row.get(name) or "").strip() for name in channels]
        if missing := [name for name, place in zip(channels, places, strict=True) if not place]:
            raise ConfigError(
                f"Line {number} of the list '{path}' names no '{missing[0]}'; the model sees "
                f"{', '.join(channels)}, a column each, or a column 'path'."
            )
        first, *others = (path.parent / place for place in places)
        case = (row.get("case") or "").strip()
        name = _checked(case, path) if case else _case_name(first)
        found.append((name, Scan(first, others=tuple(others))))
    return found


def _checked(case: str, path: Path) -> str:
    """A name that a person gave a case, which becomes a folder."""
    if case.strip(" .") != case or any(mark in '/\\:*?"<>|\0' for mark in case):
        raise ConfigError(
            f"The list '{path}' calls a case '{case}', which no folder can be called."
        )
    return case


def _named_by_folders(pairs: Iterable[tuple[str, Scan]]) -> list[tuple[str, Scan]]:
    """Scans of equal names, called by what of their paths they do not share."""
    pairs = list(pairs)
    try:
        shared = Path(commonpath([_resolved(scan.path).parent for _, scan in pairs]))
    except ValueError:  # drives of Windows share nothing
        return pairs
    return [
        ("_".join([*_resolved(scan.path).parent.relative_to(shared).parts, name]), scan)
        for name, scan in pairs
    ]


def _key(name: str) -> str:
    """What is equal for names that a disk may not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()


def output_beside(first: str | Path) -> Path:
    """Where results go if nobody says: a folder beside the first input."""
    path = Path(first)
    if isdir(path):  # not into it: results would be found there as images the next time
        whole = path.resolve()
        return whole.with_name(f"{whole.name}-{_BESIDE}")
    return path.parent / _BESIDE


def check_places(cases: dict[str, Scan], output: Path) -> None:
    """Refuse to write a case's results among its own input files.

    There they could overwrite the input, and would be taken as further images the next time.

    :raises ConfigError: naming the case.
    """
    for name, scan in cases.items():
        folder, places = _resolved(output / name), map(_resolved, (scan.path, *scan.others))
        if any(_is_same(folder, p) or _is_same(folder, p.parent) for p in places):
            raise ConfigError(
                f"The results of '{name}' would be written into the folder of its own input, "
                f"'{folder}'; choose another output folder."
            )


def _images_in(folder: Path) -> tuple[list[Path], bool]:
    """The images of a folder, and whether it is a DICOM series, beside which a picture may lie."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:  # reading it will say why
        return [], False
    images = [path for path in files if _is_image(path)]
    only_pictures = all(path.suffix.lower() in _PICTURES for path in images)
    has_dicom = only_pictures and any(map(_is_dicom, files))
    return [] if has_dicom else images, has_dicom


def _folders_in(folder: Path) -> list[Path]:
    """The folders to search; no hidden ones, and none with results of this program."""
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [
        path
        for path in folders
        if not path.name.startswith(".")
        and not path.is_symlink()
        and not (path / "report.json").is_file()
        and not (path.name == PICTURES and _is_cohort(folder))
        and not _is_cohort(path)
    ]


def _is_cohort(folder: Path) -> bool:
    """Whether a batch wrote, or writes, into a folder."""
    return (folder / PICTURES).is_dir() and any(folder.glob("summary*.csv"))


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
