"""Fields that know the truth, to tell what a renderer loses."""

from collections.abc import Sequence

import torch
from torch.nn.functional import one_hot

from MorseCore.field import Field
from MorseCore.points import labels_at


class Painted(Field):
    """Answers a label map (B, *S): sure everywhere, so that nothing but asking finds a boundary."""

    device = torch.device("cpu")

    def __init__(self, labels: torch.Tensor, *, classes: int = 2) -> None:
        self.labels, self._classes = labels.long(), classes
        self.size, self.batch = tuple(labels.shape[1:]), len(labels)

    def logits(self, coords: torch.Tensor) -> torch.Tensor:
        return 10.0 * one_hot(labels_at(self.labels, coords), self._classes)

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        return self.logits(coords)

    def memory(self) -> int:
        return 0


def ball(size: Sequence[int], radius: float, centre: Sequence[float]) -> torch.Tensor:
    """(*S) bool: a disc or a ball, in pixels, array order."""
    axes = [torch.arange(n) - c for n, c in zip(size, centre, strict=True)]
    grid = torch.meshgrid(*axes, indexing="ij")
    return sum(axis**2 for axis in grid) <= radius**2  # type: ignore[return-value]


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    """2 |A n B| / (|A| + |B|) of two masks."""
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
