"""How a scan becomes what a network sees: grid, orientation, intensities."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from MorseCore.errors import ConfigError

__all__ = ["Preparation", "normalise"]


@dataclass(frozen=True)
class Preparation:
    """Stored with a model: training and inference prepare every image by the same values."""

    window: tuple[int, ...]
    """Window in voxels along x, y[, z] = right, anterior[, superior]; what training crops and
    inference slides. The positional encoding spans one window, so both must be the same."""
    spacing: tuple[float, ...] | None = None
    """Voxel size in mm along x, y[, z] to resample to; null keeps the image's own."""
    normalisation: Literal["zscore", "range"] = "zscore"
    """``zscore``: clip to ``percentiles`` of the image, subtract the mean, divide by the standard
    deviation (MR: intensities of two scans are not comparable). ``range``: clip to
    ``intensity_range`` and scale to [-1, 1] (CT)."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """For ``zscore``."""
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


def normalise(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Intensities as the network expects them; any shape, float32 -> float32. Constant -> zeros."""
    image = image.astype(np.float32)
    if preparation.normalisation == "range":
        low, high = preparation.intensity_range
        return (np.clip(image, low, high) - low) / (high - low) * 2 - 1
    low, high = np.percentile(image, preparation.percentiles)
    if low < high:  # a mask-like image may have all its contrast beyond the percentiles
        image = np.clip(image, low, high)
    deviation = float(image.std(dtype=np.float64))
    centred = image - float(image.mean(dtype=np.float64))
    scaled: np.ndarray = centred / deviation if deviation > 0 else np.zeros_like(centred)
    return scaled.astype(np.float32)
