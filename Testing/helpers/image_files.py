"""Small image files, and what an error about one has to look like."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry

SHAPE = (4, 5, 6)


def oblique() -> Geometry:
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1.0]])
    matrix = turn @ np.diag([0.7, 1.1, 2.9, 1.0])
    matrix[:3, 3] = (-31.5, 44.25, -107.125)
    return Geometry(SHAPE, matrix)


def nifti(path: Path, array: np.ndarray, **fields: tuple[str, int, tuple[float, ...]]) -> Path:
    """Write a small NIfTI and overwrite header fields: name=(struct format, offset, values)."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    packed = path.name.endswith(".gz")
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for layout, offset, values in fields.values():
        struct.pack_into(layout, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    return path


def assert_one_sentence(error: MorseError, name: str) -> None:
    text = str(error)
    assert name in text
    assert "\n" not in text
    assert "itk" not in text.lower()
    assert text.endswith((".", "?"))


def grey_voxels() -> np.ndarray:
    """(K, J, I) float32 as of an MR."""
    return np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32)
