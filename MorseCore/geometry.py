"""The grid of a volume: its shape and the matrix that places its voxels in the patient.

Arrays are ordered (K, J, I) as in Slicer and SimpleITK's numpy views; indices, sizes and spacing
are ordered (i, j, k); world coordinates are RAS in mm.
"""

from dataclasses import dataclass

import numpy as np

from MorseCore.errors import GeometryError

__all__ = ["Geometry"]

_SHEAR_TOLERANCE = 1e-3  # largest |cosine| between two axes that still counts as a right angle
_SMALLEST, _LARGEST = 1e-6, 1e6  # mm; a nanometre, a kilometre
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape and placement of a voxel grid.

    Example::

        geometry = Geometry((30, 40, 50), np.diag([1.0, 1.0, 2.0, 1.0]))
        geometry.spacing           # (1.0, 1.0, 2.0), mm along i, j, k
        geometry.to_world(np.array([[0.0, 0.0, 1.0]]))   # [[0, 0, 2]] in RAS mm

    :raises GeometryError: if the matrix is not finite or not affine, has a sheared axis or one
        without a length that voxels can have, or the shape is empty.
    """

    shape: tuple[int, int, int]
    """Array shape (K, J, I)."""
    ijk_to_ras: np.ndarray
    """4x4 float64 matrix from continuous voxel indices (i, j, k) to RAS mm."""

    def __post_init__(self) -> None:
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64).copy()
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A volume needs three axes of at least one voxel; found {shape}.")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise GeometryError("The image's orientation matrix is not a finite 4x4 matrix.")
        if not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise GeometryError(
                "The image's orientation matrix must end with the row 0, 0, 0, 1; found "
                f"{', '.join(f'{x:g}' for x in matrix[3])}."
            )
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if (lengths <= 0).any():
            raise GeometryError(
                f"Voxel spacing must be positive; found {tuple(float(x) for x in lengths)} mm."
            )
        if lengths.min() < _SMALLEST or lengths.max() > _LARGEST:
            raise GeometryError(
                f"Voxels of {' x '.join(f'{x:g}' for x in lengths)} mm are impossible; each size "
                f"must be from {_SMALLEST:g} to {_LARGEST:g} mm."
            )
        axes = matrix[:3, :3] / lengths
        shear = np.abs(axes.T @ axes - np.eye(3)).max()
        if shear > _SHEAR_TOLERANCE:
            raise GeometryError(
                f"The image axes are not at right angles (cosine {shear:.4f}); "
                "resample the volume to a rectangular grid first."
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def from_lps(
        cls,
        shape: tuple[int, int, int],
        *,
        spacing: tuple[float, ...],
        origin: tuple[float, ...],
        direction: tuple[float, ...],
    ) -> "Geometry":
        """From SimpleITK's values in LPS: spacing and origin (i, j, k) in mm, direction by rows."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(direction, dtype=np.float64).reshape(3, 3) * np.asarray(spacing)
        matrix[:3, 3] = origin
        return cls(shape, _LPS_FROM_RAS @ matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along i, j, k in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of voxel (0, 0, 0), RAS mm."""
        r, a, s = self.ijk_to_ras[:3, 3]
        return float(r), float(a), float(s)

    @property
    def direction(self) -> np.ndarray:
        """(3, 3) unit vectors of the i, j, k axes as columns, RAS."""
        return self.ijk_to_ras[:3, :3] / np.asarray(self.spacing)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm^3."""
        return float(np.prod(self.spacing))

    def lps(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Spacing, origin and row-major direction as SimpleITK wants them (LPS)."""
        direction = _LPS_FROM_RAS[:3, :3] @ self.direction
        origin = _LPS_FROM_RAS[:3, :3] @ np.asarray(self.origin)
        return self.spacing, tuple(map(float, origin)), tuple(map(float, direction.ravel()))

    def to_world(self, ijk: np.ndarray) -> np.ndarray:
        """RAS mm of continuous indices; (..., 3) in order (i, j, k) -> (..., 3)."""
        return np.asarray(ijk) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_index(self, ras: np.ndarray) -> np.ndarray:
        """Continuous indices (i, j, k) of RAS mm; (..., 3) -> (..., 3)."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        return np.asarray(ras) @ inverse[:3, :3].T + inverse[:3, 3]

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> "Geometry":
        """The grid of a part of the array, from ``start`` up to ``stop``, both (K, J, I)."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.to_world(np.asarray(start[::-1], dtype=np.float64))
        k, j, i = (int(b) - int(a) for a, b in zip(start, stop, strict=True))
        return Geometry((k, j, i), matrix)

    def is_close(self, other: "Geometry", *, tolerance: float = 1e-3) -> bool:
        """Whether both grids have one shape and place every corner within ``tolerance`` voxels."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            [
                [i, j, k]
                for i in (0, self.shape[2])
                for j in (0, self.shape[1])
                for k in (0, self.shape[0])
            ],
            dtype=np.float64,
        )
        shift = np.abs(self.to_world(corners) - other.to_world(corners)).max()
        return bool(shift <= tolerance * min(self.spacing))
