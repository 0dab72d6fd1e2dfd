"""Maps that come in slabs along the model's first axis, brought to the scan's grid as they come.

The scan's grid may be turned by right angles and have another spacing; a slab then fills a slab of
the scan across another axis. Grids that are turned against each other otherwise need the whole map.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from MorseCore.geometry import Geometry
from MorseCore.images.inverse_resampling import to_input_grid_labels, to_input_grid_scalar
from MorseCore.images.resampling import AxisInterpolator, index_transform, make_interpolator

__all__ = ["SlabRestorer", "can_come_in_slabs"]

_DRIFT = 1e-6  # of a voxel: rounding must not leave out the scan's row that lies on a model's row


def can_come_in_slabs(model_geometry: Geometry, input_geometry: Geometry) -> bool:
    """Whether the axes of both grids are parallel."""
    return isinstance(make_interpolator(model_geometry, input_geometry), AxisInterpolator)


class SlabRestorer:
    """Fills maps on the scan's grid; what it gives equals restoring the whole maps at once.

    Example::

        restorer = SlabRestorer(model_geometry, scan_geometry)
        for first, probabilities, uncertainty in slabs:     # (C, rows, J, I), (rows, J, I)
            restorer.add(first, {"mask": probabilities}, {"uncertainty": uncertainty})
        restorer.maps["mask"], restorer.maps["uncertainty"]  # uint8, float32 (K, J, I)

    The first slab may be the whole map; only then may the grids be oblique to each other.
    """

    def __init__(self, model_geometry: Geometry, input_geometry: Geometry) -> None:
        self._model, self._scan = model_geometry, input_geometry
        self.maps: dict[str, np.ndarray] = {}
        matrix = index_transform(model_geometry, input_geometry)
        # The scan's array axis along which the model's K runs, and the K of each of its voxels.
        column = int(np.abs(matrix[2, :3]).argmax())
        self._axis = 2 - column
        index = np.arange(input_geometry.shape[self._axis])
        self._rows = index * matrix[2, column] + matrix[2, 3]
        self._tails: dict[str, Tensor] = {}
        self._done = -np.inf  # rows of the model below and at which the scan's voxels are filled

    def add(self, first: int, labels: Mapping[str, Tensor], scalars: Mapping[str, Tensor]) -> None:
        """Fill every voxel of the scan that lies between rows known by now.

        :param first: the slab's first row in the model's grid; slabs follow each other.
        :param labels: (C, rows, J, I) probabilities, of which the most probable class is kept.
        :param scalars: (rows, J, I), interpolated linearly; outside of the model's grid 0.
        """
        rows = next(iter(labels.values())).shape[1]
        is_whole = first == 0 and rows == self._model.shape[0]
        end = first + rows
        part, box = self._ready(end)
        low = first - 1 if first and not is_whole else first  # the row kept from the slab before
        j, i = self._model.shape[1:]
        model = self._model.crop((low, 0, 0), (end, j, i))
        same: dict[
            int, np.ndarray
        ] = {}  # coarse and refined are one tensor if nothing was rendered
        for name, given in (*labels.items(), *scalars.items()):
            values, axis = given, given.ndim - 3
            if low < first:
                values = torch.cat([self._tails[name], values], dim=axis)
            if end < self._model.shape[0]:
                self._tails[name] = values.narrow(axis, values.shape[axis] - 1, 1).clone()
            if part is not None:
                restore = to_input_grid_labels if name in labels else to_input_grid_scalar
                if id(given) not in same:
                    same[id(given)] = restore(values, model_geometry=model, input_geometry=part)
                found = same[id(given)]
                self._target(name, found.dtype)[box] = found

    def _ready(self, end: int) -> tuple[Geometry | None, tuple[slice, ...]]:
        """The part of the scan that can be filled now, for the first time."""
        last = np.inf if end == self._model.shape[0] else end - 1 + _DRIFT
        ready = np.flatnonzero((self._rows > self._done) & (self._rows <= last))
        self._done = last
        start, stop = [0, 0, 0], list(self._scan.shape)
        if not len(ready):
            return None, ()
        start[self._axis], stop[self._axis] = int(ready[0]), int(ready[-1]) + 1
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        k0, j0, i0 = start
        k1, j1, i1 = stop
        return self._scan.crop((k0, j0, i0), (k1, j1, i1)), box

    def _target(self, name: str, dtype: np.dtype) -> np.ndarray:
        if name not in self.maps:
            self.maps[name] = np.zeros(self._scan.shape, dtype)
        return self.maps[name]
