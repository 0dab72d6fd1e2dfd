"""Linear interpolation from one voxel grid at the centres of another, a box of voxels at a time.

An *interpolator* is prepared once for two grids and then asked for any box of the target, one
channel at a time; a box gives the same bits as the same part of the whole. Legend: boxes are
``((k0, j0, i0), (k1, j1, i1))``, upper end excluded.
"""

import itertools
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.geometry import Geometry

__all__ = [
    "EDGE",
    "AxisInterpolator",
    "Box",
    "ObliqueInterpolator",
    "Interpolator",
    "chunks",
    "index_transform",
    "make_interpolator",
    "smooth",
]

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
_ALIGNED = (
    1e-5  # drift in voxels per voxel that still counts as parallel axes; NIfTI stores float32
)
EDGE = 1e-3  # voxels beyond the outer face that rounding may put a point
_CHUNK = 1 << 22  # voxels sampled at a time


class Interpolator(Protocol):
    """Values of a source grid at the voxel centres of a target grid."""

    def sample(self, channel: Tensor, box: Box) -> Tensor:
        """Interpolate (K, J, I) of the source in a box of the target.

        Beyond the source's outermost voxel centres their values are continued.
        """

    def inside(self, box: Box) -> Tensor:
        """Bool, of the box's shape: the target voxel's centre lies in the source's outer faces."""

    def reach(self, box: Box) -> Box:
        """A box of the target that holds every voxel drawing on a voxel of the source box."""


def index_transform(source: Geometry, target: Geometry) -> np.ndarray:
    """4x4 matrix from the target's voxel indices (i, j, k) to the source's."""
    return np.linalg.inv(source.ijk_to_ras) @ target.ijk_to_ras


def make_interpolator(source: Geometry, target: Geometry) -> Interpolator:
    """The cheapest one that is right for two grids: along the axes if these are parallel."""
    matrix = index_transform(source, target)
    linear = matrix[:3, :3]
    order = np.abs(linear).argmax(
        axis=1
    )  # for each source axis, the target axis that moves along it
    rest = linear.copy()
    rest[np.arange(3), order] = 0
    # The limit is on what the neglected part can add up to from one end of the grid to the other.
    drift = np.abs(rest) @ np.asarray(target.shape[::-1])
    if sorted(order.tolist()) == [0, 1, 2] and drift.max() < _ALIGNED * max(target.shape):
        return AxisInterpolator(source, target)
    return ObliqueInterpolator(source, target)


class AxisInterpolator:
    """Grids with parallel axes: the interpolation is done along one axis after the other."""

    def __init__(self, source: Geometry, target: Geometry) -> None:
        matrix = index_transform(source, target)
        to_source = np.abs(matrix[:3, :3]).argmax(axis=0)  # target axis i, j, k -> source axis
        # Array axes run k, j, i: axis n of an array is axis 2 - n of the matrix.
        self._order = tuple(2 - int(to_source[2 - axis]) for axis in range(3))
        self._positions: list[Tensor] = []  # per target array axis, float64 source index
        for axis in range(3):
            a, m = int(to_source[2 - axis]), 2 - axis
            index = torch.arange(target.shape[axis], dtype=torch.float64)
            self._positions.append(index * matrix[a, m] + matrix[a, 3])
        self._size = [source.shape[n] for n in self._order]  # source size along each target axis
        # Axes that shrink first, so that the others have less to do; for all boxes alike, as the
        # last bit depends on the sequence.
        self._sequence = sorted(range(3), key=lambda n: target.shape[n] / self._size[n])

    def sample(self, channel: Tensor, box: Box) -> Tensor:
        """See :class:`Interpolator`."""
        values = channel.permute(self._order)
        for axis in self._sequence:
            values = self._along(values, axis, box[0][axis], box[1][axis])
        return values.contiguous()

    def _along(self, values: Tensor, axis: int, start: int, stop: int) -> Tensor:
        size = self._size[axis]
        position = self._positions[axis][start:stop].clamp(0, size - 1)
        if torch.equal(position, position.round()):
            return values.index_select(axis, position.long().to(values.device))
        below = position.floor().clamp(max=max(size - 2, 0))
        weight = (position - below).to(values.dtype)
        shape = [1, 1, 1]
        shape[axis] = -1
        lower = below.long().to(values.device)
        upper = (lower + 1).clamp(max=size - 1)
        weight = weight.to(values.device).view(shape)
        # Not torch.lerp: this form keeps order (a <= b everywhere gives a <= b in between, to the
        # last bit), on which skipping classes in ``restoring.py`` rests.
        mixed = values.index_select(axis, lower).mul_(1 - weight)
        return mixed.addcmul_(values.index_select(axis, upper), weight)

    def inside(self, box: Box) -> Tensor:
        """See :class:`Interpolator`."""
        k, j, i = (
            (p[a:b] >= -0.5 - EDGE) & (p[a:b] <= size - 0.5 + EDGE)
            for p, a, b, size in zip(self._positions, *box, self._size, strict=True)
        )
        return k[:, None, None] & j[None, :, None] & i[None, None, :]

    def reach(self, box: Box) -> Box:
        """See :class:`Interpolator`."""
        bounds = []
        for axis, position in enumerate(self._positions):
            clamped = position.clamp(0, self._size[axis] - 1)
            low, high = box[0][self._order[axis]], box[1][self._order[axis]]
            near = ((clamped > low - 1) & (clamped < high)).nonzero()
            bounds.append((int(near[0]), int(near[-1]) + 1) if len(near) else (0, 0))
        (k0, k1), (j0, j1), (i0, i1) = bounds
        return (k0, j0, i0), (k1, j1, i1)


class ObliqueInterpolator:
    """Grids turned against each other: every voxel centre is looked up."""

    def __init__(self, source: Geometry, target: Geometry) -> None:
        self._matrix = torch.from_numpy(index_transform(source, target))
        self._back = index_transform(target, source)
        self._size = source.shape
        self._target_shape = target.shape

    def positions(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        """Source indices i, j, k of a box's voxel centres, each float64 of the box's shape."""
        (k0, j0, i0), (k1, j1, i1) = box
        i = torch.arange(i0, i1, dtype=torch.float64)[None, None, :]
        j = torch.arange(j0, j1, dtype=torch.float64)[None, :, None]
        k = torch.arange(k0, k1, dtype=torch.float64)[:, None, None]
        m = self._matrix
        x, y, z = (i * m[n, 0] + j * m[n, 1] + k * m[n, 2] + m[n, 3] for n in range(3))
        return x, y, z

    def sample(self, channel: Tensor, box: Box) -> Tensor:
        """See :class:`Interpolator`."""
        grid = torch.stack(
            [
                2 * p / max(n - 1, 1) - 1 if n > 1 else torch.zeros_like(p)
                for p, n in zip(self.positions(box), reversed(self._size), strict=True)
            ],
            dim=-1,
        ).to(
            device=channel.device, dtype=channel.dtype
        )  # (*box, 3), -1..1 from first to last centre
        values = functional.grid_sample(
            channel[None, None],
            grid[None],
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return values[0, 0]

    def inside(self, box: Box) -> Tensor:
        """See :class:`Interpolator`."""
        i, j, k = (
            (p >= -0.5 - EDGE) & (p <= n - 0.5 + EDGE)
            for p, n in zip(self.positions(box), reversed(self._size), strict=True)
        )
        return i & j & k

    def reach(self, box: Box) -> Box:
        """See :class:`Interpolator`; a little generous: the turned box's corners are bounded."""
        bounds = []
        for low, high, n in zip(*box, self._size, strict=True):
            # What touches the source's border is also drawn on from the half voxel beyond it.
            bounds.append((low - 1 - (low == 0), high + (high == n)))
        corners = np.array(list(itertools.product(*reversed(bounds))), dtype=np.float64)
        target = corners @ self._back[:3, :3].T + self._back[:3, 3]
        size = np.asarray(self._target_shape[::-1])
        i0, j0, k0 = np.clip(np.floor(target.min(axis=0)), 0, size).astype(int).tolist()
        i1, j1, k1 = np.clip(np.ceil(target.max(axis=0)) + 1, 0, size).astype(int).tolist()
        return (k0, j0, i0), (k1, j1, i1)


def chunks(shape: tuple[int, int, int], *, limit: int = _CHUNK) -> list[Box]:
    """Slabs along k that tile (K, J, I) with about ``limit`` voxels each."""
    depth = max(1, limit // (shape[1] * shape[2]))
    return [
        ((k, 0, 0), (min(k + depth, shape[0]), shape[1], shape[2]))
        for k in range(0, shape[0], depth)
    ]


def smooth(image: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Gaussian smoothing of (K, J, I) by ``sigma`` voxels along K, J, I; 0 leaves an axis alone."""
    for axis, width in enumerate(sigma):
        if width <= 0:
            continue
        radius = max(1, round(3 * width))
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / width) ** 2)
        kernel /= kernel.sum()
        size = image.shape[axis]
        first, last = image.narrow(axis, 0, 1), image.narrow(axis, size - 1, 1)
        wide = torch.cat([first] * radius + [image] + [last] * radius, dim=axis)
        # Shifted sums: conv3d with one channel took twelve times as long on a CPU.
        image = wide.narrow(axis, 0, size) * float(kernel[0])
        for n in range(1, len(kernel)):
            image.add_(wide.narrow(axis, n, size), alpha=float(kernel[n]))
    return image
