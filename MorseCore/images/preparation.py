"""How a scan becomes what a network sees: grid, orientation, intensities."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np

from MorseCore.errors import ConfigError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.grids import to_model_grid
from MorseCore.images.imageio import Volume
from MorseCore.images.voxelvalues import has_value, measure_percentiles, measure_range, pieces
from MorseCore.limits import check_bounds

__all__ = [
    "CLIPPED",
    "ChannelIntensity",
    "Intensity",
    "Preparation",
    "check_window",
    "fill_missing",
    "measure_intensity",
    "normalise",
    "prepare_scan",
]

_LONGEST, _LARGEST = 4096, 2**28  # sides and voxels of a window
_SPACING = (1e-3, 1e3)  # mm
CLIPPED = (-0.2, 1.5)  # of ``percentile``
_PIECE = 1 << 24  # bytes looked at together
_HUGE = (
    1e30  # values from here on, or contrasts below its inverse, are computed in double precision
)
_SQUARED = 1e-100
_ROUNDED = 1e-3  # share of the contrast that single precision may round away


Normalisation = Literal["zscore", "percentile", "range"]


@dataclass(frozen=True)
class ChannelIntensity:
    """The intensities of one channel of several; see :class:`Preparation`."""

    normalisation: Normalisation = "zscore"
    percentiles: tuple[float, float] = (0.5, 99.5)
    intensity_range: tuple[float, float] = (-1000.0, 1000.0)

    def __post_init__(self) -> None:
        _check_intensities(self)


@dataclass(frozen=True)
class Preparation:
    """Stored with a model: training and inference prepare every image by the same values."""

    window: tuple[int, ...]
    """Window in voxels along x, y[, z] = right, anterior[, superior]; what training crops and
    inference slides. The positional encoding spans one window, so both must be the same."""
    spacing: tuple[float, ...] | None = None
    """Voxel size in mm along x, y[, z] to resample to; null keeps the image's own."""
    normalisation: Normalisation = "zscore"
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
    channels: tuple[ChannelIntensity, ...] = ()
    """Of each channel in order, in place of the three above; empty: there is one."""

    def __post_init__(self) -> None:
        if len(self.window) not in (2, 3) or min(self.window) < 1:
            raise ConfigError(f"'window' needs 2 or 3 positive sizes; found {self.window}.")
        check_window(self.window)
        check_bounds(self, spacing=_SPACING)
        _check_intensities(self)
        if len(self.channels) == 1:
            raise ConfigError("'channels' is for two and more; found one.")
        if self.spacing is not None and len(self.spacing) != len(self.window):
            raise ConfigError(
                f"'spacing' needs {len(self.window)} positive values in mm; found {self.spacing}."
            )

    @property
    def in_channels(self) -> int:
        """How many images of a case the network sees."""
        return len(self.channels) or 1

    def by_channel(self) -> tuple["Preparation", ...]:
        """The preparation of each channel alone."""
        if not self.channels:
            return (self,)
        return tuple(replace(self, channels=(), **vars(one)) for one in self.channels)

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
    """What is done to every voxel: clip to ``low`` .. ``high``, subtract, divide.

    A voxel without a value (:mod:`MorseCore.images.voxelvalues`) becomes ``background``, whatever
    stands there.
    """

    low: float
    high: float
    shift: float
    scale: float
    """0 makes everything 0: the image is constant."""
    background: float
    """In the image's own units. ``range``: the lower end, air in CT. Otherwise what becomes 0, as
    stands beyond an image, in training too: the mean of the clipped voxels, or the value of the
    lower percentile. With the lower clip value there instead, hippocampus-t1 found less beside a
    slab without values (DSC with the whole scan's masks 0.55 to 0.96, else 0.95 to 1.00)."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Any shape and type to float32, a copy."""
        if self.scale == 0:
            return np.zeros(image.shape, np.float32)
        kind: Any = np.float64 if self._needs_double else np.float32
        with np.errstate(over="ignore"):
            result: Any = np.array(image, dtype=kind, order="C")
        if image.dtype.kind == "f":
            self.fill(result)
        np.clip(result, self.low, self.high, out=result)
        result -= kind(self.shift)
        result /= kind(self.scale)
        prepared: np.ndarray = result.astype(np.float32, copy=False)
        return prepared

    def fill(self, image: np.ndarray) -> None:
        """Give the voxels of real numbers that have no value that of the background, in place."""
        for piece in pieces(image, _PIECE):
            known = has_value(piece)
            if not known.all():
                piece[~known] = self.background

    @property
    def _needs_double(self) -> bool:
        """Whether single precision would overflow, or round the contrast away."""
        largest = max(abs(self.low), abs(self.high), abs(self.shift))
        is_rounded = largest * 2.0**-24 > _ROUNDED * self.scale
        return is_rounded or largest > _HUGE or self.scale < 1 / _HUGE


def _check_intensities(options: ChannelIntensity | Preparation) -> None:
    check_bounds(options, intensity_range=(-1e9, 1e9))
    low, high = options.percentiles
    if not 0 <= low < high <= 100:
        raise ConfigError(f"'percentiles' must be two rising values; found {options.percentiles}.")
    if options.intensity_range[0] >= options.intensity_range[1]:
        raise ConfigError(f"'intensity_range' must rise; found {options.intensity_range}.")


def check_window(window: tuple[int, ...]) -> None:
    """Refuse a window that is beyond any memory.

    :raises ConfigError: if a side or the number of voxels is.
    """
    if max(window) > _LONGEST or prod(window) > _LARGEST:
        raise ConfigError(
            f"'window' may have {_LONGEST} voxels a side and {_LARGEST:,} in all; found {window}."
        )


def measure_intensity(image: np.ndarray, preparation: Preparation) -> Intensity:
    """What makes the network's input of the voxels of an image, or of the region segmented.

    Voxels without a value have no say.

    :raises ImageError: if no voxel has a value.
    """
    if preparation.normalisation == "range":
        low, high = preparation.intensity_range
        return Intensity(low, high, (low + high) / 2, (high - low) / 2, low)
    found = measure_range(image)
    if found.missing == found.size:
        raise ImageError("No voxel of the image has a value (all are NaN or infinite).")
    values = image[has_value(image)] if found.missing else image
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    low, high = measure_percentiles(values, preparation.percentiles, found)
    if low >= high:  # a mask-like image may have all its contrast beyond the percentiles
        low, high = float(found.low), float(found.high)
    if preparation.normalisation == "percentile":
        span = high - low
        return Intensity(low + CLIPPED[0] * span, low + CLIPPED[1] * span, low, span, low)
    # In pieces: numpy's own deviation holds the whole image in double precision.
    clipped = (np.clip(piece.astype(np.float64), low, high) for piece in pieces(values, _PIECE))
    mean = sum(float(piece.sum()) for piece in clipped) / values.size
    clipped = (np.clip(piece.astype(np.float64), low, high) for piece in pieces(values, _PIECE))
    span = high - low
    unit = span if 0 < span < _SQUARED else 1.0  # a square would be too small for a number
    square = sum(float((((piece - mean) / unit) ** 2).sum()) for piece in clipped)
    return Intensity(low, high, mean, unit * float(np.sqrt(square / values.size)), mean)


def normalise(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Intensities as the network expects them; any shape -> float32. Constant -> zeros."""
    return measure_intensity(image, preparation)(image)


def fill_missing(volume: Volume, preparation: Preparation) -> Volume:
    """The volume with background where voxels have no value; itself if all have one."""
    if has_value(volume.array).all():
        return volume
    array = volume.array.copy()
    measure_intensity(array, preparation).fill(array)
    return replace(volume, array=array)


def prepare_scan(volume: Volume, preparation: Preparation) -> tuple[np.ndarray, Geometry]:
    """What a network sees of a scan: float32 (K, J, I) on the model's grid, and that grid.

    Of a scan with several channels (C, K, J, I), each with intensities of its own.

    Intensities come first: what the upright box of a tilted scan holds beside the scan has no say,
    and is 0 afterwards, the mean.

    Voxels without a value are background before anything is interpolated, so that none of their
    neighbours is lost with them.

    :raises ImageError: if no voxel has a value, or the scan has other channels.
    :raises GeometryError: if the grid would be too large to hold.
    """
    if len(volume.channels) != preparation.in_channels:
        raise ImageError(
            f"{volume.source} has {len(volume.channels)} channel(s), and the network sees "
            f"{preparation.in_channels}."
        )
    arrays = []
    for channel, own in zip(volume.channels, preparation.by_channel(), strict=True):
        scan = replace(channel, array=normalise(channel.array, own))
        array, grid = to_model_grid(scan, spacing=own.spacing_xyz, spatial_dims=own.spatial_dims)
        arrays.append(array)
    return arrays[0] if len(arrays) == 1 else np.stack(arrays), grid
