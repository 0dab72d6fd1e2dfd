"""A volume's voxels as a .npy file, written piece by piece so that no slot takes long."""

from collections.abc import Generator
from pathlib import Path

import numpy as np

__all__ = ["Steps", "writeInSteps"]

Steps = Generator[None, None, None]

_PIECE = 8 << 20  # bytes; a few milliseconds


def writeInSteps(path: Path, voxels: np.ndarray, *, piece: int = _PIECE) -> Steps:
    """Write an array; each step of the iterator writes about ``piece`` bytes.

    :param voxels: (K, J, I); not to be changed meanwhile.
    To be closed if it is not run to its end: Windows keeps a file that is open.

    :raises OSError: if the disk is full, whatever was written is of no use then.
    """
    array = np.ascontiguousarray(voxels)
    with path.open("wb") as stream:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(stream, header)
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, piece):
            stream.write(flat[start : start + piece].data)
            yield
