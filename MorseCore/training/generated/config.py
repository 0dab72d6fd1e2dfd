"""What a configuration says of generated images."""

from dataclasses import dataclass, field
from typing import Any

from MorseCore.errors import ConfigError
from MorseCore.images.preparation import Preparation, check_window
from MorseCore.limits import check_bounds
from MorseCore.training.generated.ranges import PRESETS, Preset, Ranges, ranges_of

__all__ = ["GenerationConfig", "WindowShare"]


@dataclass(frozen=True)
class WindowShare:
    """A size of training images."""

    window: tuple[int, ...]
    """Pixels along x, y, z = right, anterior, superior."""
    share: float
    """Of the batches."""

    def __post_init__(self) -> None:
        if len(self.window) != 3 or min(self.window) < 1:
            raise ConfigError(f"'window' needs three positive sizes; found {self.window}.")
        check_window(self.window)
        if not 0 < self.share <= 1:
            raise ConfigError(f"'share' must lie above 0 and be at most 1; found {self.share}.")


@dataclass(frozen=True)
class GenerationConfig:
    """How images are generated from label maps (``data.source`` is ``generated``)."""

    preset: Preset = "any"
    """``any``: any MR contrast; ``t1``: like T1."""
    ranges: dict[str, Any] = field(default_factory=dict)
    """Ranges that differ from the preset's, by name; see
    :class:`MorseCore.training.generated.ranges.Ranges`."""
    structures: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Name -> labels that are found under this name, in the order of the model's values 1, 2, 3 ….
    Empty: those that a ``dataset.json`` names, else every value found."""
    surroundings: tuple[int, ...] = ()
    """Labels that are drawn and belong to no structure."""
    tissues: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """``csf``, ``grey``, ``white`` -> labels that look like it in most contrasts."""
    windows: tuple[WindowShare, ...] = ()
    """Sizes of training images; empty: ``preparation.window`` alone. A smaller window costs less
    and shows as much of what is small."""
    validation_images: int = 12
    """Images that are generated once, from the validation maps, to choose and to watch by."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"'preset' must be one of {', '.join(PRESETS)}.")
        if self.windows and abs(sum(part.share for part in self.windows) - 1) > 1e-6:
            raise ConfigError("The shares of 'windows' must sum to one.")
        check_bounds(self, validation_images=(1, 10_000))
        self.drawn_from()

    def check_fits(self, preparation: Preparation) -> None:
        """:raises ConfigError: if the model's images are flat, several, or of fixed intensities."""
        if preparation.channels:
            raise ConfigError(
                "Generated images have one channel; 'preparation.channels' is for scans."
            )
        if preparation.spatial_dims != 3 or preparation.spacing_xyz is None:
            raise ConfigError(
                "Images are generated in 3D at a stated 'preparation.spacing'; 'preparation' "
                "needs a window of three sizes and a spacing."
            )
        if preparation.normalisation == "range":
            raise ConfigError(
                "Generated intensities have no unit; 'preparation.normalisation' must be "
                "'percentile' or 'zscore'."
            )

    def drawn_from(self) -> Ranges:
        """The ranges.

        :raises ConfigError: if ``ranges`` names one that does not exist or makes no sense.
        """
        return ranges_of(self.preset, self.ranges)
