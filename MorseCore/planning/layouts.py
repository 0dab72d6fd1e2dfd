"""Which images and label maps a folder or file of a person's means, whatever its layout."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.images.names import IMAGE_SUFFIXES, name_without_suffix
from MorseCore.images.segmentationfile import is_segmentation
from MorseCore.metrics.subjects import read_rows, subjects_of
from MorseCore.training.dataset import named_labels
from MorseCore.training.layouts import is_dataset, list_cases

__all__ = ["FoundData", "FoundCase", "LabelFile", "find_cases"]

_MARK = re.compile(  # what a label map's name has more than its image's
    r"[-_. ]?(segmentation|seg|dseg|labelmap|labels?|masks?|gt)$", re.IGNORECASE
)
_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)")
_CHANNEL = re.compile(r"_(\d{4})$")
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
    labels: tuple[LabelFile, ...]
    subject: str = ""
    """Empty: nothing says; the case is a subject of its own."""


@dataclass(frozen=True)
class FoundData:
    """What a person's data are."""

    layout: str
    """In words."""
    name: str
    cases: tuple[FoundCase, ...]
    modality: str = ""
    """What a dataset.json says of the images."""
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
    if may_lack_images and not any(case.image.is_file() for case in found.cases):
        found = _labels_alone(found, data)
    _check(found, data)
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
                  subjects.get(c.name, ""))
        for c in list_cases(data, path)
    ]  # fmt: skip
    channels = data.get("channel_names") or data.get("modality") or {}
    modality = str(next(iter(channels.values()), "")) if isinstance(channels, dict) else ""
    is_nnunet = "channel_names" in data or "file_ending" in data
    return FoundData(
        f"nnU-Net ({path.name})" if is_nnunet else f"Decathlon ({path.name})",
        str(data.get("name") or path.parent.resolve().name), tuple(cases), modality,
        str(data.get("licence") or ""),
    )  # fmt: skip


def _of_two_folders(folder: Path, images: Path, labels: Path) -> FoundData:
    """Equal names, or the image with a channel's number behind it."""
    described = folder / "dataset.json"
    names: Mapping[int, str] = {}
    if described.is_file():
        named = named_labels(_json(described), described, may_skip=True)
        names = {value: name for value, name in named.items() if value}
    found, notes = _by_stem(_images_in(images)), []
    numbers = {m.group(1) for stem in found if (m := _CHANNEL.search(stem))}
    if len(numbers) > 1:
        raise DatasetError(
            f"'{images}' has {len(numbers)} channels ({', '.join(sorted(numbers))}); networks here "
            "read one image a case: leave the files of one channel there."
        )
    subjects, cases, lonely = subjects_of(folder / "dataset.json"), [], []
    for stem, label in _by_stem(_images_in(labels)).items():
        bare = _MARK.sub("", stem)
        image = next((found[key] for key in _spellings(stem, bare, numbers) if key in found), None)
        if image is None:
            lonely.append(label.name)
            continue
        name = _CHANNEL.sub("", _stem(image))
        cases.append(FoundCase(name, image, (LabelFile(label, names, says_all=True),),
                               subjects.get(name, "")))  # fmt: skip
    if lonely and cases:
        notes.append(f"Left out, since no image is called like them: {_few(lonely)}.")
    unused = sorted({p.name for p in found.values()} - {case.image.name for case in cases})
    if unused and cases:
        notes.append(f"Left out, since they have no label map: {_few(unused)}.")
    return FoundData(f"folders '{images.name}' and '{labels.name}'", folder.resolve().name,
                 tuple(cases), notes=tuple(notes))  # fmt: skip


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
    return bool(rows) and {"image", "label"} <= set(rows[0])


def _of_table(path: Path) -> FoundData:
    """A line a case: ``image``, ``label``, and perhaps ``case`` and ``subject``."""
    rows = read_rows(path)
    if not rows or not {"image", "label"} <= set(rows[0]):
        raise DatasetError(f"'{path}' must have the columns 'image' and 'label', and lines.")
    cases = []
    for number, row in enumerate(rows, start=2):
        if not row["image"] or not row["label"]:
            raise DatasetError(f"Line {number} of '{path}' names no image, or no label map.")
        image = path.parent / row["image"]
        name = row.get("case") or _CHANNEL.sub("", _stem(image))
        subject = row.get("subject") or row.get("patient") or ""
        label = LabelFile(path.parent / row["label"])
        cases.append(FoundCase(name, image, (label,), subject))
    return FoundData(f"table {path.name}", path.parent.resolve().name, tuple(cases))


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
    for stem, image in images.items():
        mine = [p for p in files if _is_label(p) and _MARK.sub("", _stem(p)) == stem]
        if mine:
            yield FoundCase(before + stem, image, tuple(map(LabelFile, mine)))


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


def _spellings(stem: str, bare: str, numbers: Iterable[str]) -> Iterator[str]:
    for name in dict.fromkeys((stem, bare)):
        yield name
        yield from (f"{name}_{number}" for number in numbers)


def _subject_of(case: FoundCase) -> str:
    match = _SUBJECT.search(case.name)
    return match.group(1) if match else case.name


def _labels_alone(found: FoundData, data: Path) -> FoundData:
    """Label maps whose images are not there: of a table, or all in one folder."""
    cases = [replace(case, image=case.labels[0].path) for case in found.cases]
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
    return replace(found, layout="label maps alone", cases=tuple(cases), has_images=False)


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
        for path in (case.image, *(label.path for label in case.labels)):
            if not path.exists():
                raise DatasetError(f"The case '{case.name}' lacks its file '{path}'.")


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ConfigError as error:
        raise DatasetError(str(error)) from None


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
