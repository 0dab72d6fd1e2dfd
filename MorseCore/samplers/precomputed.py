"""Points that were drawn in the source images before training (SwIPE)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.losses import Targets
from MorseCore.samplers.sampler import CoarseGrid

__all__ = ["PrecomputedConfig", "PrecomputedSampler"]


@dataclass(frozen=True)
class PrecomputedConfig:
    """How many points are drawn and where; see :mod:`MorseCore.training.presampling`.

    Defaults are SwIPE's for Sessile (2D): 4000 of the background, 2000 of the foreground. For BCV
    (3D) it has 20000 of the background and 4000 a class.
    """

    points: int = 1000
    """Points a crop and step, out of those that lie in the crop (the released configuration's; the
    paper is silent)."""
    per_class: int = 2000
    """Points an image, or a slice in 2D, of each foreground class that it holds."""
    background: int = 4000
    """Likewise of the background; may be 0."""
    near_share: float = 0.5
    """Share of the points of each class that lie near the class's boundary."""
    near_distance: float = 10.0
    """How near, in pixels or voxels."""

    def __post_init__(self) -> None:
        for name in ("points", "per_class"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be positive; found {getattr(self, name)}.")
        if self.background < 0:
            raise ConfigError(f"'background' must not be negative; found {self.background}.")
        if not 0 <= self.near_share <= 1:
            raise ConfigError(f"'near_share' must lie in [0, 1]; found {self.near_share}.")
        if self.near_distance <= 0:
            raise ConfigError(f"'near_distance' must be positive; found {self.near_distance}.")

    @property
    def presample(self) -> "PrecomputedConfig":
        """The data set draws by these options before training."""
        return self

    def build(self) -> "PrecomputedSampler":
        """The sampler."""
        return PrecomputedSampler()


class PrecomputedSampler:
    """Passes on the points that came with the crops.

    The data set has drawn them per source image and has brought those in the crop into it, turned,
    scaled and mirrored as the crop is (:class:`MorseCore.training.samples.CropDataset`).
    """

    def select(
        self,
        field: Field,
        targets: Targets,
        *,
        coarse: CoarseGrid | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Coordinates (B, P, D).

        :raises ConfigError: if the batch came without points.
        """
        if targets.points is None:
            raise ConfigError(
                "The sampler 'precomputed' needs points that the data set draws before training; "
                "this batch has none."
            )
        return targets.points
