"""Slices without content amid others with content: lost, or masked on purpose?"""

import logging
from collections.abc import Sequence

import numpy as np

from MorseCore.errors import ImageError
from MorseCore.images.dicom.pixels import Filling
from MorseCore.system.acceptance import Acceptance

__all__ = ["check_filling"]

logger = logging.getLogger(__name__)

_ABRUPT = 0.5  # of the usual share; where a mask ends, the last slices hold little already
_LOST_ROWS = 0.25  # of all rows


def check_filling(
    filling: Filling, names: Sequence[str], folder: str, accepted: Acceptance
) -> list[str]:
    """Refuse a stack in which slices show nothing, or end in zeros, between others that do not.

    At the ends that may be right: a scan that was masked ends so, and its last slices hold little.
    Where the slices before are as full as all others, a sentence says it.

    :param names: of the slices, in order.
    :param accepted: refusals to overrule (``empty-slice``).
    :return: sentences for the report, already logged.
    :raises ImageError: naming the first such slice.
    """
    full = np.flatnonzero(filling.share > 0)
    if len(full) == 0:
        return []  # is refused elsewhere, whatever the format
    first, last = int(full[0]), int(full[-1])
    empty = [n for n in range(first, last) if filling.share[n] == 0]
    cut = [] if empty else _lost_rows(filling)
    notes = []
    if empty or cut:
        odd = empty or cut
        what = "shows nothing" if empty else f"holds zeros below row {filling.rows[cut[0]]}"
        error = ImageError(
            f"{_named(names, odd)} {what}, unlike the slices beside it in '{folder}'; it may be "
            "damaged: copy it again."
        )
        notes = [accepted.refuse("empty-slice", error)]
    usual = _ABRUPT * float(np.median(filling.share[full]))
    ends = [
        *(range(first) if filling.share[first] >= usual else ()),
        *(range(last + 1, len(names)) if filling.share[last] >= usual else ()),
    ]
    if ends:
        sentence = f"{_named(names, ends)} at the end of '{folder}' shows nothing."
        logger.warning("%s", sentence)
        notes.append(sentence)
    return notes


def _named(names: Sequence[str], numbers: Sequence[int]) -> str:
    more = f" (and {len(numbers) - 1} more)" if len(numbers) > 1 else ""
    return f"{names[numbers[0]]}{more}"


def _lost_rows(filling: Filling) -> list[int]:
    """Slices that end many rows before both of their neighbours."""
    rows = filling.rows
    if len(rows) < 3:
        return []
    missing = np.minimum(rows[:-2], rows[2:]) - rows[1:-1]
    is_cut = (rows[1:-1] > 0) & (missing > _LOST_ROWS * rows.max())
    return [int(n) + 1 for n in np.flatnonzero(is_cut)]
