"""Pairs predicted label maps with their references by the name of the case."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from MorseCore.errors import DatasetError

__all__ = ["CasePair", "Pairing", "pair_cases"]

_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png")  # longest first
_STAGES = ("coarse", "refined")


@dataclass(frozen=True)
class CasePair:
    """One reference with its predictions."""

    name: str
    reference: Path
    predictions: dict[str, Path | None]
    """By stage; None where the file is missing."""


@dataclass(frozen=True)
class Pairing:
    """Every reference of a folder, and the predictions that have none."""

    cases: tuple[CasePair, ...]
    stages: tuple[str, ...]
    """``coarse`` and ``refined`` (those of which there is any file), or ``prediction`` alone."""
    extra: tuple[str, ...]
    """Names of predicted cases without a reference."""


def pair_cases(prediction: Path, reference: Path) -> Pairing:
    """Pair two folders.

    ``reference`` holds one label map a case, named after it. ``prediction`` holds either the same,
    or one folder a case with ``coarse`` and ``refined`` label maps (what ``segment`` writes).

    :raises DatasetError: if a folder is missing or has no label maps, a case has two files, or no
        prediction has the name of a reference.
    """
    references = _label_maps(_folder(reference, "reference"))
    if not references:
        raise DatasetError(f"The reference folder '{reference}' holds no label maps.")
    found = _staged(_folder(prediction, "prediction"))
    if not found:
        found = {name: {"prediction": path} for name, path in _label_maps(prediction).items()}
    if not found:
        raise DatasetError(f"The prediction folder '{prediction}' holds no label maps.")
    found = {_without_channel(name, found, references): files for name, files in found.items()}
    if not found.keys() & references.keys():
        raise DatasetError(
            f"No prediction is named like a reference; predictions are called '{min(found)}' …, "
            f"references '{min(references)}' …."
        )
    present = {stage for files in found.values() for stage in files}
    stages = tuple(stage for stage in (*_STAGES, "prediction") if stage in present)
    cases = [
        CasePair(name, path, {stage: found.get(name, {}).get(stage) for stage in stages})
        for name, path in sorted(references.items())
    ]
    return Pairing(tuple(cases), stages, tuple(sorted(found.keys() - references.keys())))


def _without_channel(name: str, found: Collection[str], references: Collection[str]) -> str:
    """nnU-Net calls the image of case NAME ``NAME_0000``, so its masks may be called so, too."""
    bare = name.removesuffix("_0000")
    is_case = bare in references and bare not in found
    return bare if is_case and name not in references else name


def _folder(path: Path, role: str) -> Path:
    if path.is_file():
        raise DatasetError(
            f"'{path}' is a file; a {role} folder is expected, with one label map a case."
        )
    if not path.is_dir():
        raise DatasetError(f"There is no {role} folder '{path}'.")
    return path


def _case_name(file_name: str) -> str | None:
    """The name without its image suffix; None for a hidden file or another kind of file."""
    if file_name.startswith("."):
        return None
    for suffix in _SUFFIXES:
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return None


def _label_maps(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = _case_name(path.name)
        if name is None or not path.is_file():
            continue
        if name in files:
            raise DatasetError(
                f"The case '{name}' has two files in '{folder}': "
                f"'{files[name].name}' and '{path.name}'."
            )
        files[name] = path
    return files


def _staged(folder: Path) -> dict[str, dict[str, Path]]:
    """Files by case and stage of the sub-folders that hold any."""
    cases = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            files = _label_maps(path)
            stages = {stage: files[stage] for stage in _STAGES if stage in files}
            if stages:
                cases[_case_name(path.name) or path.name] = stages
    return cases
