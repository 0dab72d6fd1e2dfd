"""What a case is called: its image's file name without what says the format, and the channel."""

import re
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "channel_number", "channel_paths", "name_without_suffix"]

_NUMBER = re.compile(r"(.+)_(\d{4})")

IMAGE_SUFFIXES = (
    ".nii.gz",
    ".nii",
    ".hdr",
    ".hdr.gz",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
)
_VOXELS = (".img", ".img.gz")  # beside a header, which is what a folder is searched for


def name_without_suffix(file: str) -> str:
    """``sub.01.T1.nii.gz`` is ``sub.01.T1``: other dots than the format's belong to the name."""
    for suffix in (*IMAGE_SUFFIXES, *_VOXELS):
        if file.lower().endswith(suffix) and len(file) > len(suffix):
            return file[: -len(suffix)]
    return file


def channel_number(stem: str) -> tuple[str, int | None]:
    """``case_0001`` is channel 1 of ``case``, as nnU-Net names files; None: no number is there."""
    match = _NUMBER.fullmatch(stem)
    return (match.group(1), int(match.group(2))) if match else (stem, None)


def channel_paths(path: Path, count: int) -> tuple[Path, ...]:
    """The files of all channels of the case to which a file belongs.

    The file is that of any channel (``case_0000.nii.gz``), or the case's common name
    (``case.nii.gz``). Where there is no first channel's file, the file holds them all.
    """
    stem = name_without_suffix(path.name)
    ending = path.name[len(stem) :]
    name, number = channel_number(stem)
    paths = tuple(path.with_name(f"{name}_{n:04d}{ending}") for n in range(count))
    is_meant = not path.exists() if number is None else number < count
    if is_meant and paths[0].is_file():
        return paths
    return (path,) * count
