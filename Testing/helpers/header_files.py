"""NRRD and MetaImage files whose headers a test writes line by line."""

import os
from pathlib import Path

import pytest

from image_files import assert_one_sentence
from MorseCore.errors import ImageError, MorseError
from MorseCore.images.imageio import read_volume

SIZE = 6 * 5 * 4 * 2  # bytes of the voxels below


def raw(folder: Path, name: str = "a.raw", size: int = SIZE) -> Path:
    (folder / name).write_bytes(bytes(range(256)) * (size // 256 + 1))
    os.truncate(folder / name, size)
    return folder / name


def meta(folder: Path, place: str, **fields: str) -> Path:
    values = {
        "ObjectType": "Image", "NDims": "3", "DimSize": "6 5 4", "ElementSpacing": "1 1 1",
        "ElementType": "MET_SHORT",
    } | fields  # fmt: skip
    lines = [f"{key} = {value}" for key, value in values.items()]
    path = folder / "a.mhd"
    path.write_text("\n".join([*lines, f"ElementDataFile = {place}"]) + "\n")
    return path


def nrrd(folder: Path, *lines: str, data: bytes = b"", **fields: str) -> Path:
    values = {
        "type": "int16", "dimension": "3", "sizes": "6 5 4", "encoding": "raw", "endian": "little",
    } | fields  # fmt: skip
    text = ["NRRD0004", *(f"{key}: {value}" for key, value in values.items()), *lines]
    path = folder / ("a.nhdr" if any("data file" in line for line in lines) else "a.nrrd")
    path.write_bytes("\n".join([*text, "", ""]).encode() + data)
    return path


def refused(path: Path, expected: str, kind: type[MorseError] = ImageError) -> None:
    with pytest.raises(kind, match=expected) as caught:
        read_volume(path)
    assert_one_sentence(caught.value, path.name)
