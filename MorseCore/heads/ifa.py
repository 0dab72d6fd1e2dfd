"""The IFA head: the static case of I²Net."""

from dataclasses import dataclass
from typing import Literal

from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.i2net.head import I2Net, I2NetConfig
from MorseCore.heads.parts.latents import Ensemble, RelativeEncoding

__all__ = ["IfaConfig"]


@dataclass(frozen=True)
class IfaConfig(HeadConfig):
    """Sizes of IFA (ECCV 2022) as I²Net compares with it: one set of parameters for all points.

    f_Theta({z_i*, p - p_i*}_i) with one Theta: the same code as I²Net with K = 1. The defaults are
    the static row of I²Net's ablation; with ``points`` they are the network of the Cityscapes
    comparison.
    """

    output: Literal["auto", "grid", "points"] = "auto"
    """See :class:`I2NetConfig`."""
    grid_stride: int = 4
    """Of ``grid``."""
    planes: int = 64
    """Width to which every level is projected."""
    widths: tuple[int, ...] | None = None
    """Hidden layers; null: as in I²Net."""
    encoding: RelativeEncoding = "none"
    """``ultra_pe`` adds sinusoids of the relative coordinates."""
    frequencies: int = 6
    """Of ``ultra_pe``, an axis."""
    ensemble: Ensemble = "none"
    """Let the 2^D nearest cells answer in place of one."""

    def __post_init__(self) -> None:
        self.static()  # which checks the numbers

    def static(self) -> I2NetConfig:
        """The same in I²Net's terms."""
        return I2NetConfig(
            learners=1,
            output=self.output,
            grid_stride=self.grid_stride,
            planes=self.planes,
            widths=self.widths,
            encoding=self.encoding,
            frequencies=self.frequencies,
            ensemble=self.ensemble,
        )

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "I2Net":
        """The head."""
        return self.static().build(spec, num_classes=num_classes)
