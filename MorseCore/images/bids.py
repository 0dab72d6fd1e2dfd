"""BIDS: which images of a data set a model is for, and what its derivatives are called."""

import re
from collections.abc import Sequence
from pathlib import Path

from MorseCore.errors import ConfigError
from MorseCore.images.names import name_without_suffix

__all__ = ["bids_entities", "bids_images", "derivative_path"]

_PLACES = ("sub-*/anat", "sub-*/ses-*/anat")
_SUFFIXES = {"T1": ("T1w",), "T2": ("T2w",), None: ("T1w", "T2w", "FLAIR", "PDw")}
"""Of the images that a model of a contrast is for; the first of which there are some counts."""
_FORMATS = (".nii", ".nii.gz")
_ENTITY = re.compile(r"(?:^|_)(sub|ses)-([A-Za-z0-9]+)(?=_|$)")


def bids_images(
    folder: Path, contrast: str | None = None, *, every: bool = False
) -> list[Path] | None:
    """The anatomical images of a BIDS data set; None if the folder is none.

    :param contrast: ``T1`` or ``T2``, of the model; one of any contrast takes T1 if there is some.
    :param every: of any contrast.
    :raises ConfigError: if the data set has no image of that kind.
    """
    files = sorted(
        file
        for place in _PLACES
        for file in folder.glob(f"{place}/sub-*")
        if file.name.endswith(_FORMATS)
    )
    if not files:
        return None
    if every:
        return files
    for suffix in _SUFFIXES[contrast]:
        if images := [file for file in files if _suffix(file) == suffix]:
            return images
    raise ConfigError(
        f"The BIDS data set '{folder}' has no image anat/*_{_SUFFIXES[contrast][0]}.nii.gz, which "
        f"the model is for; found *_{', *_'.join(sorted({_suffix(file) for file in files}))}."
    )


def bids_entities(case: str) -> tuple[str, str]:
    """Subject and session of a case's name, without ``sub-`` and ``ses-``; empty if it has none."""
    found = dict(_ENTITY.findall(case))
    return found.get("sub", ""), found.get("ses", "")


def derivative_path(case: str, description: str, ending: str) -> Path:
    """Where the derivative of an image lies below the root of the derivatives.

    Example::

        derivative_path("sub-01_ses-2_T1w", "refined", "dseg.nii.gz")
        # sub-01/ses-2/anat/sub-01_ses-2_desc-refined_dseg.nii.gz
    """
    subject, session = bids_entities(case)
    folders: Sequence[str] = [f"sub-{subject}", *([f"ses-{session}"] if session else []), "anat"]
    stem = case.rpartition("_")[0]
    return Path(*folders, f"{stem}_desc-{description}_{ending}")


def _suffix(file: Path) -> str:
    return name_without_suffix(file.name).rpartition("_")[2]
