"""The implicit field: a function that answers class logits at any coordinate of one image.

``B`` batch, ``C`` classes, ``P`` points, ``*S`` space, ``D`` its dimensions.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from MorseCore.points import Axes, grid_coords, pixel_axes

__all__ = ["Field"]

CHUNK = 65536  # points a query: bounds memory at about 65536 x 256 floats a layer


class Field(ABC):
    """What a head makes of one batch of images; it can be asked anything, at any resolution.

    Example::

        field = network(image)                     # (B, 1, 40, 56, 40)
        coords = torch.zeros(1, 1, 3)              # the centre of the image
        field.logits(coords)                       # (B, 1, C), after rendering
        field.coarse(coords)                       # (B, 1, C), before
    """

    size: tuple[int, ...]
    """S of the image, array order."""
    batch: int
    """B, images in the batch."""

    @abstractmethod
    def coarse(self, coords: Tensor) -> Tensor:
        """Logits before rendering: (B, P, D) in [-1, 1], order (x, y[, z]) -> (B, P, C)."""

    @abstractmethod
    def logits(self, coords: Tensor) -> Tensor:
        """The head's best answer: (B, P, D) -> (B, P, C)."""

    def coarse_grid(self, axes: Axes) -> Tensor:
        """Coarse logits on a product grid: (B, C, *lengths of the axes).

        Heads override this where a whole grid is cheaper than point by point.
        """
        return self.query_grid(axes, rendered=False)

    def query_grid(self, axes: Axes, *, rendered: bool) -> Tensor:
        """Query every point of a product grid, in chunks: (B, C, *lengths of the axes)."""
        query = self.logits if rendered else self.coarse
        coords = grid_coords(axes).to(self.device).expand(self.batch, -1, -1)
        parts = [query(part).transpose(1, 2) for part in coords.split(CHUNK, dim=1)]
        values = torch.cat(parts, dim=2)
        return values.view(values.shape[0], values.shape[1], *(len(axis) for axis in axes))

    def gates(self, coords: Tensor) -> Tensor | None:
        """How a point is shared out: (B, P, D) -> (B, P, K), sums to one over K.

        K experts (MORSE's W_i) or pattern learners (I²Net's g); None for a head without either.
        """
        return None

    def uncertainty(self, coords: Tensor) -> Tensor | None:
        """The head's own measure of doubt: (B, P, D) -> (B, P), larger where it is less certain.

        None for a head that has none but the margin of its logits.
        """
        return None

    def pixels(self) -> tuple[Tensor, ...]:
        """The product grid of the image's own pixel centres."""
        return pixel_axes(self.size, device=self.device)

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the field lives."""

    @abstractmethod
    def memory(self) -> int:
        """Bytes that the field keeps."""
