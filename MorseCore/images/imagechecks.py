"""Whether an image is one that can be segmented."""

import logging

import numpy as np

from MorseCore.errors import ImageError
from MorseCore.images.imageio import Volume

__all__ = ["check_is_intensity_image", "clean_voxels"]

logger = logging.getLogger(__name__)

_LABEL_LIMIT = 32  # labels are counted from 0; a scan that uses fewer grey values shows nothing
_MOST_LABELS = 16
_FLAT = 0.5  # share of neighbours with one label


def clean_voxels(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace NaN and infinite voxels by the smallest finite value; returns array and count.

    The smallest value is air in CT and the empty background in MR. Without such voxels the array
    itself comes back.

    :raises ImageError: if no voxel is finite.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return array, 0
    finite = np.isfinite(array)
    count = int(array.size - np.count_nonzero(finite))
    if count == 0:
        return array, 0
    if count == array.size:
        raise ImageError("No voxel of the image has a value (all are NaN or infinite).")
    background = array[finite].min()
    logger.warning("%d voxels without a value (NaN or infinite) are taken as background.", count)
    return np.where(finite, array, background), count


def check_is_intensity_image(volume: Volume) -> None:
    """Refuse an image of one value, and a label map chosen by mistake.

    A label map is recognised by all of: whole numbers from 0 to below 32, at most 16 different
    ones, and mostly flat, that is, where two neighbours are not both 0, they agree more often than
    not. In a scan noise forbids the last even if it was rounded that coarsely; a phantom or a
    picture in black and white (0 and 255) is let through.

    :raises ImageError: in either case.
    """
    array, _ = clean_voxels(volume.array)
    low, high = array.min(), array.max()
    if low == high:
        raise ImageError(
            f"{volume.source}: every voxel has the value {low:g}; there is nothing to segment."
        )
    if low != 0 or high >= _LABEL_LIMIT or not np.array_equal(array, np.rint(array)):
        return
    codes = array.astype(np.uint8)
    used = int(np.count_nonzero(np.bincount(codes.ravel(), minlength=_LABEL_LIMIT)))
    if used <= _MOST_LABELS and _flatness(codes) > _FLAT:
        raise ImageError(
            f"{volume.source} looks like a segmentation ({used - 1} label(s), 0 to {high:g}); "
            "a scan is expected."
        )


def _flatness(codes: np.ndarray) -> float:
    """Among neighbours that are not both zero, the share with one value."""
    equal = total = 0
    for axis in range(codes.ndim):
        a = np.moveaxis(codes, axis, 0)
        shown = (a[1:] | a[:-1]) != 0
        equal += int(np.count_nonzero((a[1:] == a[:-1]) & shown))
        total += int(np.count_nonzero(shown))
    return equal / max(total, 1)
