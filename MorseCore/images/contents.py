"""What an image's files hold: two images of one name may be of two persons."""

import hashlib
from pathlib import Path

import numpy as np

from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import canonical_axes
from MorseCore.images.voxelvalues import pieces
from MorseCore.system.files import sha256

__all__ = ["input_hashes", "voxel_digest"]

_DETACHED = (".nhdr", ".mhd")  # headers whose voxels lie in a file beside them


def input_hashes(path: Path) -> list[list[str]]:
    """Name and SHA-256 of every file that a case is read from.

    :raises OSError: if one cannot be read.
    """
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    elif path.name.lower().endswith(_DETACHED):
        files = sorted(p for p in path.parent.iterdir() if p.is_file() and p.stem == path.stem)
    return [[file.name, sha256(file)] for file in files]


def voxel_digest(volume: Volume) -> str:
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
