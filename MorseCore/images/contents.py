"""What an image's files hold: two images of one name may be of two persons."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from MorseCore.images.filechecks import check_is_regular
from MorseCore.images.modelgrid import canonical_axes
from MorseCore.images.nifti import pair_of
from MorseCore.images.textheaders import voxel_files
from MorseCore.images.voxelvalues import pieces
from MorseCore.system.files import sha256

if TYPE_CHECKING:  # a batch looks at files without SimpleITK
    from MorseCore.images.imageio import Volume

__all__ = ["input_files", "input_hashes", "voxel_digest"]

_TEXT_HEADERS = (".nhdr", ".nrrd", ".mhd", ".mha")


def input_files(path: Path) -> list[Path]:
    """Every file that a case is read from: a header with its voxels, the images of a folder.

    :raises ImageError: if one of them is no regular file, or is missing.
    :raises OSError: if one cannot be looked at.
    """
    check_is_regular(path)
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if path.name.lower().endswith(_TEXT_HEADERS):
        return list(dict.fromkeys([path, *voxel_files(path)]))
    pair = pair_of(path)
    return [path] if pair is None else list(pair)


def input_hashes(path: Path) -> list[list[str]]:
    """Name and SHA-256 of every file that a case is read from.

    :raises ImageError: as :func:`input_files`.
    :raises OSError: if one cannot be read.
    """
    return [[file.name, sha256(file)] for file in input_files(path)]


def voxel_digest(volume: "Volume") -> str:
    """Of what an image shows: shape and voxels, however they are stored.

    A file that was packed otherwise, is of another type or format, or was turned by right angles,
    has the same. Where the image lies does not count.
    """
    array = canonical_axes(volume.geometry).apply(volume.array)
    digest = hashlib.blake2b(f"{array.shape}".encode(), digest_size=16)
    for piece in pieces(array):
        with np.errstate(over="ignore"):
            voxels = np.ascontiguousarray(piece, dtype=np.float32) + np.float32(0)  # -0 is 0
        voxels[np.isnan(voxels)] = np.nan  # one of the many
        digest.update(voxels.tobytes())
    return digest.hexdigest()
