"""How far generated images may differ from each other: every range, with where it comes from."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from MorseCore.errors import ConfigError

__all__ = ["PRESETS", "Contrast", "Preset", "Ranges", "ranges_of"]

Range = tuple[float, float]
_MOST = 1000.0  # of anything: mm, degrees, kinds of tissue
_LEAST_DISTANCE = 2.0  # mm; nodes that are as close as voxels are noise, and fill the memory
_MOST_FIELDS = 8
Contrast = Literal["free", "tissue", "t1"]
Preset = Literal["any", "t1"]


@dataclass(frozen=True)
class Ranges:
    """From which ranges each image draws its own values, uniformly unless said otherwise.

    *SynthSeg* is Billot et al., Medical Image Analysis 86, 102789 (2023), with the defaults of its
    generator; *trial* is this project's own, whose figures are in ``Documentation/generated.md``.
    Lengths are mm, intensities shares of the whole range 0..1.
    """

    # Where things are.
    rotation: float = 15.0
    """Degrees about each axis, to either side (SynthSeg)."""
    scaling: float = 0.15
    """Relative, an axis (SynthSeg: 0.2)."""
    shear: float = 0.03
    """Off the diagonal of the affine map (SynthSeg: 0.012)."""
    translation: tuple[float, float, float] = (20.0, 16.0, 16.0)
    """mm along the axes (K, J, I) = S, A, R: a window that is placed by a guess is off by so much
    (trial). Where the structures do not fit into the window it also travels over them."""
    deformation: tuple[Range, ...] = ((38.0, 4.0), (18.0, 2.0))
    """Smooth fields: distance of their nodes, and the largest standard deviation of the nodes'
    displacements (SynthSeg: nodes at 0.04 of the size, up to 4 mm)."""
    mirror: float = 0.5
    """Share of the images in which left and right are exchanged, and so are their labels
    (SynthSeg)."""

    # What is bright.
    contrasts: tuple[float, float, float] = (0.35, 0.35, 0.30)
    """Shares of images in which each label has a mean of its own (``free``, SynthSeg's only
    way), labels of one tissue have nearly the same mean (``tissue``), or tissues are in the order
    CSF < grey matter < white matter (``t1``) (trial)."""
    tissue_spread: Range = (0.02, 0.12)
    """Labels of one tissue lie within so much of its mean (trial)."""
    noise_within: Range = (0.02, 0.12)
    """Largest standard deviation inside a label (SynthSeg: 0.2 at most)."""
    same_sides: float = 0.8
    """Share of images in which left and right look alike (trial)."""
    dark_background: float = 0.7
    """Share of images in which what no label covers is nearly black (SynthSeg: 0.3)."""
    skull_stripped: float = 0.1
    """Share of images in which what surrounds the structures looks like background; in half of
    them the CSF, too (SynthSeg removes CSF from 0.3 of the maps of a brain alone)."""
    blobs: tuple[int, int] = (3, 12)
    """Where a label map has nothing but background around its structures: that many kinds of
    random tissue are drawn there. (0, 0): none."""
    blob_size: Range = (15.0, 60.0)
    """Distance of the nodes of the smooth noise that blobs are cut from."""

    # What a scanner does.
    bias: float = 0.35
    """Largest standard deviation of the logarithm of the bias field (SynthSeg: 0.7 of a field
    that is sampled as coarsely)."""
    bias_nodes: float = 60.0
    """Distance of its nodes."""
    thick_slices: float = 0.35
    """Share of images with thick slices along one axis (SynthSeg: 0.855)."""
    slice_thickness: Range = (2.5, 8.0)
    """Of these (SynthSeg: 1 to 8): 2D FLAIR and T2 have 5 to 7."""
    blurred: float = 0.35
    """Share of images that are blurred along all axes alike, of those without thick slices more
    than half (SynthSeg: 0.095)."""
    blur: Range = (0.6, 2.0)
    """Their standard deviation."""
    noise: float = 0.06
    """Largest standard deviation of the noise on top (trial; SynthSeg has none)."""
    gamma: float = 0.3
    """Standard deviation of the logarithm of gamma (SynthSeg: 0.5)."""
    cut: float = 0.15
    """Share of images whose field of view ends inside the window: nothing is seen beyond, and
    nothing is to be found there."""
    cut_share: Range = (0.05, 0.35)
    """How much of the window is cut off."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item.name, getattr(self, item.name))
        if abs(sum(self.contrasts) - 1) > 1e-6:
            raise ConfigError(f"'contrasts' must sum to one; found {self.contrasts}.")
        distances = [*(distance for distance, _ in self.deformation), self.bias_nodes]
        distances += self.blob_size
        if not all(distance >= _LEAST_DISTANCE for distance in distances):
            raise ConfigError(
                f"The distance of nodes must be {_LEAST_DISTANCE:g} mm at least; found "
                f"{min(distances):g}."
            )
        if len(self.deformation) > _MOST_FIELDS:
            raise ConfigError(f"'deformation' may have {_MOST_FIELDS} fields at most.")


def _check(name: str, value: object) -> None:
    """Nothing is negative; shares are at most one; a pair rises."""
    numbers = value if isinstance(value, tuple) else (value,)
    flat = [n for item in numbers for n in (item if isinstance(item, tuple) else (item,))]
    if any(not isinstance(n, (int, float)) or n < 0 for n in flat):
        raise ConfigError(f"'{name}' must not be negative; found {value}.")
    if any(n > _MOST for n in flat):
        raise ConfigError(f"'{name}' may be {_MOST:g} at most; found {value}.")
    if name in _SHARES and not 0 <= flat[0] <= 1:
        raise ConfigError(f"'{name}' must lie in [0, 1]; found {value}.")
    if name != "deformation" and len(flat) == 2 and flat[0] > flat[1]:
        raise ConfigError(f"'{name}' must rise; found {value}.")


_SHARES = (
    "mirror", "same_sides", "dark_background", "skull_stripped", "thick_slices", "blurred", "cut",
)  # fmt: skip

PRESETS: dict[str, Ranges] = {
    "any": Ranges(),
    "t1": replace(Ranges(), contrasts=(0.0, 0.0, 1.0), thick_slices=0.15),
}
"""``any``: whatever an MR scanner can make. ``t1``: dark fluid, grey and white matter in order."""


def ranges_of(preset: Preset, changes: dict[str, object]) -> Ranges:
    """A preset with some ranges replaced.

    :raises ConfigError: for a range that does not exist or makes no sense.
    """
    from MorseCore.config import decode, encode

    return decode(Ranges, encode(PRESETS[preset]) | changes, "generation.ranges")
