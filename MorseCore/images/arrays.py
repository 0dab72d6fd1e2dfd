"""A scan that another program has read, with the checks and the words that a file gets."""

from collections.abc import Sequence

import numpy as np

from MorseCore.errors import ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, warn_about_spacing

__all__ = ["volume_from_array"]


def volume_from_array(
    array: np.ndarray,
    ijk_to_ras: Sequence[Sequence[float]] | np.ndarray,
    source: str,
    *,
    modality: str = "",
) -> Volume:
    """A volume of what Slicer has loaded, as :func:`MorseCore.images.imageio.read_volume` gives it.

    :param array: (K, J, I) of any numbers, in any order of bytes and axes in memory.
    :param ijk_to_ras: (4, 4) voxel indices (i, j, k) to RAS mm.
    :param source: what messages call it.
    :param modality: DICOM's code (CT, MR, …); empty if it is not known.
    :raises ImageError: if it is not one scalar volume.
    :raises GeometryError: if its grid is impossible.
    """
    voxels = _as_numbers(array, source)
    if voxels.ndim > 3:
        size = " x ".join(map(str, voxels.shape[::-1]))
        raise ImageError(
            f"{source} has {voxels.ndim} dimensions ({size}); choose one volume of it."
        )
    if voxels.ndim < 3 or not voxels.size:
        raise ImageError(f"{source} holds no volume; found an array of shape {voxels.shape}.")
    k, j, i = voxels.shape
    geometry = Geometry((k, j, i), np.asarray(ijk_to_ras, dtype=np.float64))
    # Slicer has a picture as a volume of one slice.
    volume = Volume(voxels, geometry, source, 2 if k == 1 else 3, modality)
    warn_about_spacing(volume)
    return volume


def _as_numbers(array: np.ndarray, source: str) -> np.ndarray:
    """The types that a file's voxels may have, in this computer's order."""
    kind = array.dtype.kind
    if array.dtype.names:
        raise ImageError(
            f"{source} has {len(array.dtype.names)} values a voxel (colour?); one grey value is "
            "expected."
        )
    if kind == "c":
        raise ImageError(f"{source} has complex voxels; export its magnitude.")
    if kind not in "biuf":
        raise ImageError(f"{source} has voxels that are no numbers ({array.dtype}).")
    if kind == "f":
        with np.errstate(over="ignore"):  # what becomes infinite has no value, as in a file
            return np.ascontiguousarray(array, dtype=np.float32)
    wanted = np.uint8 if kind == "b" else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype=wanted)
