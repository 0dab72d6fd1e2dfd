"""A segmentation as memory-mapped arrays and JSON, between two processes on one machine.

The message of a ``result`` event: ``geometry`` (``shape`` (K, J, I), ``ijk_to_ras`` rows, RAS mm),
``structures``, ``arrays`` (name -> file), ``points`` (field of RenderedPoints -> file), ``report``.
numpy only: Slicer's side imports no torch.
"""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from MorseCore.config import shorten
from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.filechecks import check_is_regular
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.files import atomic_path

__all__ = ["load_array", "load_segmentation", "save_array", "save_segmentation"]

_MAPS = ("coarse", "refined", "uncertainty")
_HEADERS: Mapping[tuple[int, int], Callable[[IO[bytes]], tuple[Any, bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By version of the format; the third is for names of fields, which voxels have not."""


def save_array(folder: Path, name: str, array: np.ndarray) -> str:
    """Write ``<name>.npy`` atomically; returns the file's name.

    :raises OutputError: if the folder cannot be written to, a full disk included.
    """
    file = f"{name}.npy"
    with atomic_path(folder / file) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return file


def load_array(path: Path) -> np.ndarray:
    """Read a .npy file that another process has written; no other format, and no pickles.

    The whole is read, not mapped: Windows could not remove the file as long as somebody holds it.

    :raises ImageError: if it is no such file, or shorter than its header says.
    """
    name = shorten(path.name)
    try:
        size = path.stat().st_size
        check_is_regular(path)
        with path.open("rb") as stream:
            _check_header(stream, size=size)
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageError(f"'{name}' cannot be read: {reason}.") from error
    except Exception as error:  # numpy has many for a header that makes no sense
        raise ImageError(f"'{name}' is no array of numbers in numpy's format.") from error


def _check_header(stream: IO[bytes], *, size: int) -> None:
    """Refuse what the header says before memory is taken for it; the stream is at its beginning.

    :raises ImageError: if voxels are missing.
    """
    shape, _, kind = _HEADERS[np.lib.format.read_magic(stream)](stream)
    if min(shape, default=1) < 0 or kind.hasobject:
        raise ValueError(f"an array of shape {shape} of {kind}")
    expected, found = prod(shape) * kind.itemsize, size - stream.tell()
    if found < expected:
        raise ImageError(
            f"The array is cut off: {expected} bytes of voxels are expected; found {found}."
        )
    stream.seek(0)


def save_segmentation(folder: Path, result: Segmentation) -> dict[str, Any]:
    """Write a result's arrays into a folder; returns the message that names them."""
    return {
        "geometry": {
            "shape": list(result.geometry.shape),
            "ijk_to_ras": result.geometry.ijk_to_ras.tolist(),
        },
        "structures": [structure.to_dict() for structure in result.structures],
        "arrays": {name: save_array(folder, name, getattr(result, name)) for name in _MAPS},
        "points": {
            name: save_array(folder, f"points_{name}", getattr(result.points, name))
            for name in RenderedPoints.__dataclass_fields__
        },
        "report": result.report,
    }


def load_segmentation(folder: Path, message: Mapping[str, Any]) -> Segmentation:
    """The result that a message names; its maps are memory-mapped and read-only.

    :raises ImageError: if a file is missing or does not fit.
    """
    try:
        shape = tuple(message["geometry"]["shape"])
        geometry = Geometry(shape, np.asarray(message["geometry"]["ijk_to_ras"], dtype=np.float64))
        maps = {name: _load(folder, message["arrays"][name], mapped=True) for name in _MAPS}
        points = RenderedPoints(
            **{
                name: _load(folder, message["points"][name], mapped=False)
                for name in RenderedPoints.__dataclass_fields__
            }
        )
        structures = tuple(map(Structure.from_dict, message["structures"]))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ImageError(f"The worker's result cannot be read: {error}.") from error
    if any(array.shape != shape for array in maps.values()):
        raise ImageError("The worker's result does not fit its own grid.")
    return Segmentation(
        geometry, structures, maps["coarse"], maps["refined"], maps["uncertainty"], points,
        dict(message["report"]),
    )  # fmt: skip


def _load(folder: Path, file: str, *, mapped: bool) -> np.ndarray:
    if Path(file).name != file:
        raise ValueError(f"'{file}' is not a plain file name")
    array: np.ndarray = np.load(
        folder / file, mmap_mode="r" if mapped else None, allow_pickle=False
    )
    return array
