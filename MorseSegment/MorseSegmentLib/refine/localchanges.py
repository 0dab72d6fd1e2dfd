"""What a local write changed, so that it can be taken back without touching later edits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from MorseSegmentLib.scene.segments import boundingBox
from MorseSegmentLib.scene.voxels import Slices

__all__ = ["LocalChanges"]

_Index = tuple[int, int, int]
_Masks = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Segments that are different inside a box, before and after; masks are (K, J, I) bool."""

    start: _Index
    former: _Masks
    written: _Masks

    @property
    def stop(self) -> _Index:
        k, j, i = (a + n for a, n in zip(self.start, self._any.shape, strict=True))
        return k, j, i

    @property
    def _any(self) -> np.ndarray:
        return next(iter(self.former.values()))

    def within(self, start: _Index) -> Slices:
        """The piece's place in a larger box that begins at ``start``."""
        return tuple(
            slice(a - b, a - b + n)
            for a, b, n in zip(self.start, start, self._any.shape, strict=True)
        )

    def before(self, now: _Masks) -> tuple[dict[str, np.ndarray], int]:
        """Masks with every voxel that still is as written as it was, and how many are not.

        :param now: the segments' masks as they are; those that are gone are left out.
        """
        edited = np.zeros(self._any.shape, bool)
        ours = np.zeros(self._any.shape, bool)
        for key, mask in self.written.items():
            edited |= mask if key not in now else now[key] != mask
            ours |= self.former[key] != mask
        former = {
            key: np.where(edited, now[key], mask) for key, mask in self.former.items() if key in now
        }
        return former, int((edited & ours).sum())


class LocalChanges:
    """Boxes with what was in them, collected while a block is gone through."""

    def __init__(self) -> None:
        self.count = 0
        """Voxels that were changed."""
        self.pieces: list[_Piece] = []

    def add(self, start: _Index, before: _Masks, after: _Masks) -> None:
        """Keep what differs between masks of the same box, which begins at ``start``."""
        keys = [key for key, mask in after.items() if (mask != before[key]).any()]
        if not keys:
            return
        different = np.zeros(after[keys[0]].shape, bool)
        for key in keys:
            different |= after[key] != before[key]
        self.count += int(different.sum())
        box = boundingBox(different)
        k, j, i = (a + part.start for a, part in zip(start, box, strict=True))
        # Copies, as views would keep the whole masks.
        former = {key: before[key][box].copy() for key in keys}
        written = {key: after[key][box].copy() for key in keys}
        self.pieces.append(_Piece((k, j, i), former, written))

    @property
    def segmentIDs(self) -> Iterable[str]:
        """Of all segments that were changed."""
        return dict.fromkeys(key for piece in self.pieces for key in piece.former)

    @property
    def bounds(self) -> tuple[_Index, _Index]:
        """The box that holds all pieces: start and stop, (K, J, I)."""
        k0, j0, i0 = np.min([piece.start for piece in self.pieces], axis=0).tolist()
        k1, j1, i1 = np.max([piece.stop for piece in self.pieces], axis=0).tolist()
        return (k0, j0, i0), (k1, j1, i1)
