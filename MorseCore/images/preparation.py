"""How a scan becomes what a network sees: grid, orientation, intensities."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.grids import to_model_grid
from MorseCore.images.imageio import Volume

__all__ = ["CLIPPED", "Intensity", "Preparation", "measure_intensity", "normalise", "prepare_scan"]

CLIPPED = (-0.2, 1.5)  # of ``percentile``
_PIECE = 1 << 24  # bytes looked at together


@dataclass(frozen=True)
class Preparation:
    """Stored with a model: training and inference prepare every image by the same values."""

    window: tuple[int, ...]
    """Window in voxels along x, y[, z] = right, anterior[, superior]; what training crops and
    inference slides. The positional encoding spans one window, so both must be the same."""
    spacing: tuple[float, ...] | None = None
    """Voxel size in mm along x, y[, z] to resample to; null keeps the image's own."""
    normalisation: Literal["zscore", "percentile", "range"] = "zscore"
    """``zscore``: clip to ``percentiles`` of the image, subtract the mean, divide by the standard
    deviation (MR: intensities of two scans are not comparable). They are those of what is
    segmented: of the region where one is given, of the whole image in training, so that a region
    should be such as the training images are. ``percentile``: shift and scale so that
    ``percentiles`` become 0 and 1, clip to [-0.2, 1.5]; 0, which is put beyond an image, is then
    the dark end. ``range``: clip to ``intensity_range`` and scale to
    [-1, 1] (CT), whatever the region."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """For ``zscore`` and ``percentile``."""
    intensity_range: tuple[float, float] = (-1000.0, 1000.0)
    """For ``range``, in the image's own units (HU)."""

    def __post_init__(self) -> None:
        if len(self.window) not in (2, 3) or min(self.window) < 1:
            raise ConfigError(f"'window' needs 2 or 3 positive sizes; found {self.window}.")
        if self.spacing is not None and (
            len(self.spacing) != len(self.window) or min(self.spacing) <= 0
        ):
            raise ConfigError(
                f"'spacing' needs {len(self.window)} positive values in mm; found {self.spacing}."
            )
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ConfigError(f"'percentiles' must be two rising values; found {self.percentiles}.")
        if self.intensity_range[0] >= self.intensity_range[1]:
            raise ConfigError(f"'intensity_range' must rise; found {self.intensity_range}.")

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.window)

    @property
    def spacing_xyz(self) -> tuple[float, float, float] | None:
        """``spacing`` with a third value that 2D ignores."""
        if self.spacing is None:
            return None
        return self.spacing[0], self.spacing[1], (*self.spacing, 1.0)[2]

    @property
    def window_size(self) -> tuple[int, ...]:
        """The window in array order, (K,) J, I."""
        return self.window[::-1]


@dataclass(frozen=True)
class Intensity:
    """What is done to every voxel: clip to ``low`` .. ``high``, subtract, divide."""

    low: float
    high: float
    shift: float
    scale: float
    """0 makes everything 0: the image is constant."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Any shape and type to float32, a copy."""
        result = np.array(image, dtype=np.float32, order="C")
        if self.scale == 0:
            return np.zeros_like(result)
        np.clip(result, self.low, self.high, out=result)
        result -= np.float32(self.shift)
        result /= np.float32(self.scale)
        return result


def measure_intensity(image: np.ndarray, preparation: Preparation) -> Intensity:
    """What makes the network's input of the voxels of an image, or of the region segmented."""
    if preparation.normalisation == "range":
        low, high = preparation.intensity_range
        return Intensity(low, high, (low + high) / 2, (high - low) / 2)
    low, high = (float(x) for x in np.percentile(image, preparation.percentiles))
    if preparation.normalisation == "percentile":
        if low >= high:
            low, high = float(np.min(image)), float(np.max(image))
        span = high - low
        return Intensity(low + CLIPPED[0] * span, low + CLIPPED[1] * span, low, span)
    if low >= high:  # a mask-like image may have all its contrast beyond the percentiles
        low, high = -np.inf, np.inf
    # In pieces: numpy's own deviation holds the whole image in double precision.
    count = max(1, image.nbytes // _PIECE)
    pieces = [np.s_[part[0] : part[-1] + 1] for part in np.array_split(range(len(image)), count)
              if len(part)]  # fmt: skip
    clipped = (np.clip(image[piece].astype(np.float64), low, high) for piece in pieces)
    mean = sum(float(piece.sum()) for piece in clipped) / image.size
    clipped = (np.clip(image[piece].astype(np.float64), low, high) for piece in pieces)
    square = sum(float(((piece - mean) ** 2).sum()) for piece in clipped)
    return Intensity(low, high, mean, float(np.sqrt(square / image.size)))


def normalise(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Intensities as the network expects them; any shape -> float32. Constant -> zeros."""
    return measure_intensity(image, preparation)(image)


def prepare_scan(volume: Volume, preparation: Preparation) -> tuple[np.ndarray, Geometry]:
    """What a network sees of a scan: float32 (K, J, I) on the model's grid, and that grid.

    Intensities come first: what the upright box of a tilted scan holds beside the scan has no say,
    and is 0 afterwards, the mean.

    :param volume: without voxels that are not numbers.
    :raises GeometryError: if the grid would be too large to hold.
    """
    scan = replace(volume, array=normalise(volume.array, preparation))
    return to_model_grid(
        scan, spacing=preparation.spacing_xyz, spatial_dims=preparation.spatial_dims
    )
