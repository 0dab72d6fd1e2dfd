"""Where windows lie on an image, and so how many there are. No torch."""

import itertools
import math
from collections.abc import Sequence

__all__ = ["window_starts"]


def window_starts(
    size: Sequence[int], window: Sequence[int], *, overlap: float
) -> list[tuple[int, ...]]:
    """First voxels of the windows that cover ``size``, evenly spaced, last axis fastest.

    Neighbours share at least ``overlap`` (0 <= overlap < 1) of the window, rounded to whole voxels.

    :raises ValueError: if the window is larger than the image (pad it first) or ``overlap`` is not
        in [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1); found {overlap}")
    return list(
        itertools.product(
            *(_starts_along(*sizes, overlap) for sizes in zip(size, window, strict=True))
        )
    )


def _starts_along(size: int, window: int, overlap: float) -> list[int]:
    if not 1 <= window <= size:
        raise ValueError(f"a window of {window} voxels does not fit in {size}; pad the image first")
    step = max(1, int(window * (1 - overlap)))
    gaps = math.ceil((size - window) / step)
    if gaps == 0:
        return [0]
    return [round(n * (size - window) / gaps) for n in range(gaps + 1)]
