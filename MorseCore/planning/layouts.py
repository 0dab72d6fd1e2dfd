"""Which images and label maps a folder or file of a person's means, whatever its layout."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.images.names import IMAGE_SUFFIXES, channel_number, name_without_suffix
from MorseCore.images.segmentationfile import is_segmentation
from MorseCore.metrics.subjects import read_rows, subjects_of
from MorseCore.training.dataset import named_labels
from MorseCore.training.layouts import channels_of, check_channel_files, is_dataset, list_cases

__all__ = ["FoundData", "FoundCase", "LabelFile", "find_cases"]

_MARK = re.compile(  # what a label map's name has more than its image's
    r"[-_. ]?(segmentation|seg|dseg|labelmap|labels?|masks?|gt)$", re.IGNORECASE
)
_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)")
_IMAGE = "image_"  # before a channel's name in a table's columns
_FOLDERS = (("images", "labels"), ("imagesTr", "labelsTr"), ("images", "masks"))
_EXPECTED = (
    "expected are the folders 'images' and 'labels' with equal names, a dataset.json, a BIDS "
    "folder with derivatives, a CSV with the columns 'image' and 'label', or images beside label "
    "maps called like them (case.nii.gz and case.seg.nrrd, case_seg.nii.gz or case_mask.png)"
)


@dataclass(frozen=True)
class LabelFile:
    """A file with labels, and what is known of its numbers before it is opened."""

    path: Path
    names: Mapping[int, str] = field(default_factory=dict)
    """Value -> name, without background, where another file says so."""
    says_all: bool = False
    """Whether ``names`` is of the whole data set: that a name stands there then says nothing of
    whether the structure was annotated in this file."""
    mask_of: str = ""
    """The structure, if the file is the mask of one."""


@dataclass(frozen=True)
class FoundCase:
    """One image with its label files."""

    name: str
    image: Path
    """The first channel's file."""
    labels: tuple[LabelFile, ...]
    subject: str = ""
    """Empty: nothing says; the case is a subject of its own."""
    others: tuple[Path, ...] = ()
    """The files of its further channels (:mod:`MorseCore.images.channels`)."""

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of all channels."""
        return (self.image, *self.others)


@dataclass(frozen=True)
class FoundData:
    """What a person's data are."""

    layout: str
    """In words."""
    name: str
    cases: tuple[FoundCase, ...]
    modality: str = ""
    """What a dataset.json says of the images, if a case has one."""
    channels: tuple[str, ...] = ()
    """Names of the images of a case, where there are several."""
    licence: str = ""
    notes: tuple[str, ...] = ()
    """Sentences about what was chosen or left out."""
    has_images: bool = True
    """False: there are label maps alone, each of which is the case's image, too: of its grid."""


def find_cases(data: Path, *, may_lack_images: bool = False) -> FoundData:
    """The cases of a folder, a ``dataset.json`` or a table.

    :param may_lack_images: whether label maps alone are enough.
    :raises DatasetError: if there are none, or files that a table names are missing.
    """
    if data.is_file():
        found = _of_table(data) if data.suffix.lower() in (".csv", ".tsv") else _of_json(data)
    elif data.is_dir():
        found = _of_folder(data)
    elif data.exists():
        raise DatasetError(f"'{data}' is neither a file nor a folder, but a device or a pipe.")
    else:
        raise DatasetError(f"There is no file or folder '{data}' (looked from '{Path.cwd()}').")
    if may_lack_images and not any(p.exists() for case in found.cases for p in case.images):
        found = _labels_alone(found, data)
    _check(found, data)
    if found.cases[0].others and not found.channels:
        numbered = tuple(f"channel {n}" for n in range(len(found.cases[0].images)))
        found = replace(found, channels=numbered)
    for case in found.cases:
        _check_images(case, found.channels)
    cases = [replace(case, subject=case.subject or _subject_of(case)) for case in found.cases]
    return replace(found, cases=tuple(sorted(cases, key=lambda case: case.name)))


def _of_folder(folder: Path) -> FoundData:
    described = folder / "dataset.json"
    if described.is_file() and is_dataset(_json(described)):
        return _of_json(described)
    for images, labels in _FOLDERS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return _of_two_folders(folder, folder / images, folder / labels)
    if (folder / "dataset_description.json").is_file() or any(folder.glob("sub-*/")):
        return _of_bids(folder)
    tables = [path for path in sorted(folder.glob("*.[ct]sv")) if _is_table_of_pairs(path)]
    if len(tables) == 1:
        return _of_table(tables[0])
    return _of_neighbours(folder)


def _of_json(path: Path) -> FoundData:
    """The layout of the Decathlon or of nnU-Net."""
    data = _json(path)
    if not is_dataset(data):
        raise DatasetError(f"'{path}' lists no cases; {_EXPECTED}.")
    names = {v: n for v, n in named_labels(data, path, may_skip=True).items() if v}
    if "ignore" in map(str.lower, names.values()):
        raise DatasetError(
            f"'{path}' has nnU-Net's label 'ignore', which is not read; say of each case which "
            "structures are not annotated there, and take it out of the labels."
        )
    subjects = subjects_of(path)
    cases = [
        FoundCase(c.name, c.image, (LabelFile(c.label, names, says_all=True),),
                  subjects.get(c.name, ""), c.others)
        for c in list_cases(data, path)
    ]  # fmt: skip
    channels, named = channels_of(data), data.get("channel_names") or data.get("modality") or {}
    is_one = isinstance(named, dict) and not channels
    modality = str(next(iter(named.values()), "")) if is_one else ""
    is_nnunet = "channel_names" in data or "file_ending" in data
    return FoundData(
        f"nnU-Net ({path.name})" if is_nnunet else f"Decathlon ({path.name})",
        str(data.get("name") or path.parent.resolve().name), tuple(cases), modality,
        channels, str(data.get("licence") or ""),
    )  # fmt: skip


def _of_two_folders(folder: Path, images: Path, labels: Path) -> FoundData:
    """Equal names, or the images with the channels' numbers behind them."""
    described = folder / "dataset.json"
    names: Mapping[int, str] = {}
    channels: tuple[str, ...] = ()
    if described.is_file():
        data = _json(described)
        channels, named = channels_of(data), named_labels(data, described, may_skip=True)
        names = {value: name for value, name in named.items() if value}
    found, notes = _by_stem(_images_in(images)), []
    marked = _by_stem(_images_in(labels))
    bare = {stem: _MARK.sub("", stem) for stem in marked}
    numbers = range(len(channels)) if channels else _numbers(found, {*bare, *bare.values()})
    subjects, cases, lonely = subjects_of(folder / "dataset.json"), [], []
    for stem, label in marked.items():
        name = stem if _images_of(stem, found, numbers) else bare[stem]
        files = _images_of(name, found, numbers)
        if not files:
            lonely.append(label.name)
            continue
        cases.append(FoundCase(name, files[0], (LabelFile(label, names, says_all=True),),
                               subjects.get(name, ""), tuple(files[1:])))  # fmt: skip
    if lonely and cases:
        notes.append(f"Left out, since no image is called like them: {_few(lonely)}.")
    used = {path for case in cases for path in case.images}
    unused = sorted(path.name for path in found.values() if path not in used)
    if unused and cases:
        notes.append(f"Left out, since they have no label map: {_few(unused)}.")
    return FoundData(f"folders '{images.name}' and '{labels.name}'", folder.resolve().name,
                 tuple(cases), channels=channels, notes=tuple(notes))  # fmt: skip


def _numbers(found: Iterable[str], names: Collection[str]) -> list[int]:
    """The channels' numbers that stand behind cases' names.

    :param found: names of images. :param names: of label maps.
    """
    numbers = {n for name, n in map(channel_number, found) if n is not None and name in names}
    return sorted(numbers)


def _images_of(name: str, found: Mapping[str, Path], numbers: Sequence[int]) -> list[Path]:
    """A case's images, one a channel; that of a missing channel is where it would lie."""
    if name in found:
        return [found[name]] * (len(numbers) or 1)
    paths = {f"{name}_{n:04d}": found.get(f"{name}_{n:04d}") for n in numbers}
    there = next((path for path in paths.values() if path), None)
    if there is None:
        return []
    ending = there.name[len(_stem(there)) :]
    return [path or there.with_name(f"{stem}{ending}") for stem, path in paths.items()]


def _of_bids(folder: Path) -> FoundData:
    """Images of ``sub-*``, label maps of ``derivatives`` (or beside the images)."""
    files = [path for path in folder.rglob("sub-*") if _is_image(path)]
    labels = [p for p in files if _entities(p)["suffix"] in ("dseg", "mask", "seg")]
    images = [
        p for p in files if p not in labels and "derivatives" not in p.relative_to(folder).parts
    ]
    kinds = Counter(_entities(path)["suffix"] for path in images)
    by_visit: dict[tuple[str, str], list[Path]] = {}
    for path in labels:
        by_visit.setdefault(_visit(path), []).append(path)
    kind = max(sorted(kinds), key=lambda k: kinds[k]) if kinds else ""
    cases = []
    for visit, parts in sorted(by_visit.items()):
        mine = [p for p in images if _visit(p) == visit and _entities(p)["suffix"] == kind]
        if not mine:
            continue
        name = "_".join(part for part in visit if part)
        cases.append(FoundCase(name, sorted(mine)[0], tuple(_bids_label(p, folder) for p in parts),
                               visit[0]))  # fmt: skip
    notes = []
    if len(kinds) > 1:
        others = ", ".join(f"{k} ({n})" for k, n in sorted(kinds.items()) if k != kind)
        notes.append(f"The images called {kind} are read; there are also {others}.")
    several = [case.name for case in cases if len(case.labels) > 1]
    if several:
        notes.append(f"All label maps of a visit are taken together, as in {_few(several)}.")
    return FoundData("BIDS", folder.resolve().name, tuple(cases), notes=tuple(notes))


def _bids_label(path: Path, root: Path) -> LabelFile:
    entities = _entities(path)
    if entities["suffix"] == "mask":
        return LabelFile(path, mask_of=entities.get("label") or entities.get("desc") or "mask")
    stem = path.name[: path.name.index(".")]
    own = path.with_name(f"{stem}.tsv")
    if own.is_file():
        return LabelFile(path, _lookup(own))
    for parent in path.parents:
        tables = sorted(parent.glob("*dseg.tsv"))
        if tables:
            return LabelFile(path, _lookup(tables[0]), says_all=True)
        if parent == root:
            break
    return LabelFile(path)


def _lookup(path: Path) -> dict[int, str]:
    """BIDS's table of a segmentation: columns ``index`` and ``name``."""
    rows = read_rows(path)
    try:
        return {int(row["index"]): row["name"] for row in rows if int(row["index"])}
    except (KeyError, ValueError, TypeError):
        raise DatasetError(f"'{path}' must have the columns 'index' and 'name'.") from None


def _entities(path: Path) -> dict[str, str]:
    *pairs, suffix = path.name[: path.name.index(".")].split("_")
    return {**dict(pair.split("-", 1) for pair in pairs if "-" in pair), "suffix": suffix}


def _visit(path: Path) -> tuple[str, str]:
    entities = _entities(path)
    session = entities.get("ses", "")
    return f"sub-{entities.get('sub', '')}", f"ses-{session}" if session else ""


def _is_table_of_pairs(path: Path) -> bool:
    try:
        rows = read_rows(path)
    except (DatasetError, csv.Error):
        return False
    return bool(rows) and "label" in rows[0] and bool(_image_columns(rows[0]))


def _of_table(path: Path) -> FoundData:
    """A line a case: ``image`` (or ``image_NAME`` a channel), ``label``, ``case``, ``subject``."""
    rows = read_rows(path)
    columns = _image_columns(rows[0]) if rows else []
    if not columns or "label" not in rows[0]:
        raise DatasetError(f"'{path}' must have the columns 'image' and 'label', and lines.")
    cases = []
    for number, row in enumerate(rows, start=2):
        if not all(row[column] for column in (*columns, "label")):
            raise DatasetError(f"Line {number} of '{path}' names no image, or no label map.")
        first, *others = (path.parent / row[column] for column in columns)
        name = row.get("case") or channel_number(_stem(first))[0]
        subject = row.get("subject") or row.get("patient") or ""
        label = LabelFile(path.parent / row["label"])
        cases.append(FoundCase(name, first, (label,), subject, tuple(others)))
    channels = tuple(column.removeprefix(_IMAGE) for column in columns) if columns[1:] else ()
    return FoundData(
        f"table {path.name}", path.parent.resolve().name, tuple(cases), channels=channels
    )


def _image_columns(row: Mapping[str, str]) -> list[str]:
    return ["image"] if "image" in row else [key for key in row if (key or "").startswith(_IMAGE)]


def _of_neighbours(folder: Path) -> FoundData:
    """Images beside label maps called like them, in one folder or one folder a case."""
    cases = list(_neighbours(_images_in(folder), ""))
    for part in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = _images_in(part)
        marked = [path for path in files if _is_label(path)]
        plain = [path for path in files if path not in marked]
        if len(marked) == len(plain) == 1:
            cases.append(FoundCase(part.name, plain[0], (LabelFile(marked[0]),)))
        else:
            cases.extend(_neighbours(files, f"{part.name}_"))
    return FoundData("images beside label maps", folder.resolve().name, tuple(cases))


def _neighbours(files: Iterable[Path], before: str) -> Iterator[FoundCase]:
    files = list(files)
    images = _by_stem(path for path in files if not _is_label(path))
    marked: dict[str, list[Path]] = {}
    for path in files:
        if _is_label(path):
            marked.setdefault(_MARK.sub("", _stem(path)), []).append(path)
    numbers = _numbers(images, marked)
    for stem, labels in marked.items():
        if found := _images_of(stem, images, numbers):
            yield FoundCase(before + stem, found[0], tuple(map(LabelFile, labels)),
                            others=tuple(found[1:]))  # fmt: skip


def _is_label(path: Path) -> bool:
    return is_segmentation(path) or bool(_MARK.search(_stem(path)))


def _images_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_image(path)]


def _is_image(path: Path) -> bool:
    is_visible = not path.name.startswith(".")
    return is_visible and path.name.lower().endswith(IMAGE_SUFFIXES) and path.is_file()


def _stem(path: Path) -> str:
    if is_segmentation(path):
        return path.name[: -len(".seg.nrrd")]
    return name_without_suffix(path.name)


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    result: dict[str, Path] = {}
    for path in paths:
        other = result.setdefault(_stem(path), path)
        if other != path:
            raise DatasetError(
                f"'{other.name}' and '{path.name}' of '{path.parent}' would be one case; rename or "
                "remove one of them."
            )
    return result


def _subject_of(case: FoundCase) -> str:
    match = _SUBJECT.search(case.name)
    return match.group(1) if match else case.name


def _labels_alone(found: FoundData, data: Path) -> FoundData:
    """Label maps whose images are not there: of a table, or all in one folder."""
    cases = [replace(case, image=case.labels[0].path, others=()) for case in found.cases]
    if not cases and data.is_dir():
        described = data / "dataset.json"
        named = (
            named_labels(_json(described), described, may_skip=True) if described.is_file() else {}
        )
        names = {value: name for value, name in named.items() if value}
        folder = next((data / name for _, name in _FOLDERS if (data / name).is_dir()), data)
        cases = [
            FoundCase(_MARK.sub("", stem), path, (LabelFile(path, names, says_all=True),))
            for stem, path in _by_stem(_images_in(folder)).items()
        ]
    return replace(
        found, layout="label maps alone", cases=tuple(cases), channels=(), has_images=False
    )


def _check(found: FoundData, data: Path) -> None:
    """Refuse nothing, names that stand twice, and files that are not there."""
    if not found.cases:
        raise DatasetError(
            f"'{data}' holds no image with a label map; {_EXPECTED}. From label maps without "
            "images --any-contrast learns."
        )
    names = Counter(case.name for case in found.cases)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise DatasetError(f"'{data}' holds {count} cases that are called '{name}'.")
    for case in found.cases:
        for path in (label.path for label in case.labels):
            if not path.exists():
                raise DatasetError(f"The case '{case.name}' lacks its file '{path}'.")


def _check_images(case: FoundCase, channels: tuple[str, ...]) -> None:
    """Refuse a case whose images are not there, or fewer or more than the others'."""
    if len(case.images) != (len(channels) or 1):
        raise DatasetError(
            f"The case '{case.name}' has {len(case.images)} image(s), and others have "
            f"{len(channels) or 1}."
        )
    check_channel_files(case.name, case.images, channels)


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ConfigError as error:
        raise DatasetError(str(error)) from None


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
