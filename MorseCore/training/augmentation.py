"""Random changes of a training sample: one affine resampling, then intensities; torch only.

Shapes: ``C`` channels, ``*S`` source size, ``*O`` crop size; axes in array order, (K, J, I) or
(J, I). Every draw comes from the generator that is passed in, so a sample is a pure function of the
data and the generator's state.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from MorseCore.config import nearest
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.limits import check_bounds
from MorseCore.training.intensity import (
    add_bias_field,
    add_noise,
    apply_gamma,
    blur,
    lower_resolution,
    stretch_contrast,
)
from MorseCore.training.warping import (
    affine_matrix,
    crop_affine,
    crop_start,
    crop_straight,
    crop_to_source,
)

__all__ = ["AugmentationConfig", "augment", "augment_located", "swapped_labels"]

_MOST = 100.0  # of any strength; the largest that helps are near 4
_SMALLEST_OF_RANGE = {
    "scale": 0.05,
    "contrast": 0.0,
    "gamma": 0.05,
    "blur_sigma": 0.05,
    "low_resolution_zoom": 0.05,
}


@dataclass(frozen=True)
class AugmentationConfig:
    """What may happen to a training sample; a probability of 0 switches a change off.

    The defaults of probabilities and ranges follow nnU-Net's; mirroring is off, because it would
    teach a model of left and right organs that they are the same.

    :raises ConfigError: naming the field and the value that cannot be used.
    """

    rotation_probability: float = 0.2
    """Chance of a rotation about the crop's centre."""
    rotation_degrees: tuple[float, ...] = (30.0,)
    """Largest angle either way: one for all axes, or one about each of K, J, I; 2D: the first."""
    scale_probability: float = 0.2
    """Chance of a change of size."""
    scale: tuple[float, float] = (0.7, 1.4)
    """Size of an object after over before; drawn so that halving is as likely as doubling."""
    mirror_probability: float = 0.5
    """Chance of a flip, for each axis of ``mirror_axes`` on its own."""
    mirror_axes: tuple[int, ...] = ()
    """Axes that may be flipped, in array order: 0 is K (3D) or J (2D)."""
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    """Structures of the left and of the right, by name: where the last axis, which runs to the
    patient's right, is flipped, the two of a pair change places, and so do their labels."""
    noise_probability: float = 0.1
    """Chance of added Gaussian noise."""
    noise_std: float = 0.3
    """Largest standard deviation of the noise, in units of the normalised image."""
    blur_probability: float = 0.1
    """Chance of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    """Width of the blur in voxels."""
    brightness_probability: float = 0.15
    """Chance of a shift of all intensities."""
    brightness: float = 0.25
    """Largest shift either way, in units of the normalised image."""
    contrast_probability: float = 0.15
    """Chance of a change of contrast."""
    contrast: tuple[float, float] = (0.75, 1.25)
    """Factor on the differences from the mean."""
    low_resolution_probability: float = 0.125
    """Chance of a simulated coarser scan."""
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    """Number of voxels along an axis of the coarser scan over that of the crop."""
    gamma_probability: float = 0.3
    """Chance of a gamma curve."""
    gamma: tuple[float, float] = (0.7, 1.5)
    """Exponent; intensities are taken as 0..1 of their range."""
    gamma_invert_probability: float = 0.25
    """Of the gamma curves, the share that bends the bright end."""
    bias_probability: float = 0.0
    """Chance of a smooth multiplicative field; meant for MR."""
    bias_strength: float = 0.3
    """Standard deviation of the field's logarithm."""

    def __post_init__(self) -> None:
        for name in ("rotation_degrees", "mirror_axes", *_SMALLEST_OF_RANGE):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise ConfigError(f"{field.name} must lie between 0 and 1; found {value}.")
        check_bounds(self, noise_std=(0, _MOST), brightness=(0, _MOST), bias_strength=(0, _MOST))
        for name, smallest in _SMALLEST_OF_RANGE.items():
            _check_range(name, getattr(self, name), smallest)
        if self.low_resolution_zoom[1] > 1:
            raise ConfigError(
                f"low_resolution_zoom must not exceed 1; found {self.low_resolution_zoom}."
            )
        angles = self.rotation_degrees
        if len(angles) not in (1, 3) or not all(0 <= a <= 180 for a in angles):
            raise ConfigError(
                f"rotation_degrees must be one or three angles from 0 to 180; found {angles}."
            )
        axes = self.mirror_axes
        if len(set(axes)) != len(axes) or not set(axes) <= {0, 1, 2}:
            raise ConfigError(f"mirror_axes must be different axes out of 0, 1, 2; found {axes}.")
        paired = [name for pair in self.mirror_pairs for name in pair]
        for name in paired:
            if paired.count(name) > 1:
                raise ConfigError(f"mirror_pairs must name a structure once; found '{name}' twice.")

    @classmethod
    def none(cls) -> "AugmentationConfig":
        """Every probability at zero: `augment` then only crops."""
        return cls(
            rotation_probability=0,
            scale_probability=0,
            mirror_probability=0,
            noise_probability=0,
            blur_probability=0,
            brightness_probability=0,
            contrast_probability=0,
            low_resolution_probability=0,
            gamma_probability=0,
            bias_probability=0,
        )


def swapped_labels(config: AugmentationConfig, names: Mapping[int, str]) -> Tensor | None:
    """(256,) int64, what each label becomes in a mirror image; None: each stays what it is.

    :param names: of the data set's structures by value.
    :raises ConfigError: if ``mirror_pairs`` names what the data set does not have.
    """
    if not config.mirror_pairs:
        return None
    values = {name: value for value, name in names.items()}
    swapped = torch.arange(256)
    for pair in config.mirror_pairs:
        for name in pair:
            if name not in values:
                raise ConfigError(
                    f"'augmentation.mirror_pairs' names '{name}', which is no structure of the "
                    f"data set{nearest(name, values)}."
                )
        left, right = (values[name] for name in pair)
        swapped[left], swapped[right] = right, left
    return swapped


def augment(
    image: Tensor,
    labels: Tensor,
    *,
    crop: tuple[int, ...],
    center: tuple[float, ...],
    config: AugmentationConfig,
    generator: torch.Generator,
    spacing: tuple[float, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut one randomly changed crop: :func:`augment_located` without the place.

    :returns: (C, *O) float32 and (*O) int64.
    """
    image, labels, *_ = augment_located(
        image, labels, crop=crop, center=center, config=config, generator=generator, spacing=spacing
    )
    return image, labels


def augment_located(
    image: Tensor,
    labels: Tensor,
    *,
    crop: tuple[int, ...],
    center: tuple[float, ...],
    config: AugmentationConfig,
    generator: torch.Generator,
    spacing: tuple[float, ...] | None = None,
) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Cut one randomly changed crop, and say where, and which axes were flipped.

    Rotation, size, mirroring and the crop are one resampling (see `crop_affine`); if only the crop
    and mirroring are drawn, nothing is interpolated. Channels share all this; each draws its own
    changes of intensity. Beyond the image the crop is zero, the
    mean of a normalised image, and background. A crop starts on a voxel: ``center`` is rounded to
    the nearest place where it does.

    :param image: (C, *S) float32, normalised; not changed.
    :param labels: (*S) int64; not changed.
    :param crop: *O in voxels.
    :param center: source voxel at the middle of the crop, which is ``start + (crop - 1) / 2``.
    :param spacing: voxel size in mm in array order, for rigid rotations; isotropic if absent.
    :returns: (C, *O) float32, (*O) int64, (D, D + 1), see `crop_to_source`, and axes.
    :raises DatasetError: if image and labels differ in size.
    :raises ConfigError: if the crop or ``mirror_axes`` have another number of dimensions.
    """
    _check_sample(image, labels, crop, center, config)
    start = crop_start(center, crop)
    matrix, mirror = _draw_affine(config, spacing or (1.0,) * len(crop), generator)
    size = labels.shape
    if matrix is None:
        matrix = affine_matrix(
            [0.0] * (1 if len(crop) == 2 else 3), scale=1, mirror=mirror, spacing=[1.0] * len(crop)
        )
        image, labels = crop_straight(image, labels, start=start, crop=crop)
        if mirror:
            image = image.flip([axis + 1 for axis in mirror])
            labels = labels.flip(mirror)
    else:
        image, labels = crop_affine(image, labels, start=start, crop=crop, matrix=matrix)
    to_source = crop_to_source(start=start, crop=crop, matrix=matrix, size=size)
    channels = [_change_intensities(one, config, generator) for one in image.split(1)]
    return torch.cat(channels), labels, to_source, mirror


def _draw_affine(
    config: AugmentationConfig, spacing: tuple[float, ...], generator: torch.Generator
) -> tuple[Tensor | None, list[int]]:
    """The map from crop to source, or None if nothing has to be interpolated, and flipped axes."""
    dims = len(spacing)
    mirror = [axis for axis in config.mirror_axes if _happens(config.mirror_probability, generator)]
    rotates = _happens(config.rotation_probability, generator)
    scales = _happens(config.scale_probability, generator)
    if not (rotates or scales):
        return None, mirror
    count = 1 if dims == 2 else 3
    limits = (config.rotation_degrees * count)[:count] if rotates else (0.0,) * count
    degrees = [_uniform(-limit, limit, generator) for limit in limits]
    low, high = config.scale if scales else (1.0, 1.0)
    scale = math.exp(_uniform(math.log(low), math.log(high), generator))
    return affine_matrix(degrees, scale=scale, mirror=mirror, spacing=spacing), mirror


def _change_intensities(
    image: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Noise, sharpness, then contrast: (C, *O) -> (C, *O), one draw for all."""
    if _happens(config.noise_probability, generator):
        std = _uniform(0, config.noise_std, generator)
        image = add_noise(image, std=std, generator=generator)
    if _happens(config.blur_probability, generator):
        image = blur(image, sigma=_uniform(*config.blur_sigma, generator))
    if _happens(config.low_resolution_probability, generator):
        image = lower_resolution(image, zoom=_uniform(*config.low_resolution_zoom, generator))
    if _happens(config.bias_probability, generator):
        image = add_bias_field(image, strength=config.bias_strength, generator=generator)
    brightens = _happens(config.brightness_probability, generator)
    stretches = _happens(config.contrast_probability, generator)
    if brightens or stretches:
        shift = _uniform(-config.brightness, config.brightness, generator) if brightens else 0.0
        factor = _uniform(*config.contrast, generator) if stretches else 1.0
        image = stretch_contrast(image, factor=factor, shift=shift)
    if _happens(config.gamma_probability, generator):
        invert = _happens(config.gamma_invert_probability, generator)
        image = apply_gamma(image, gamma=_uniform(*config.gamma, generator), invert=invert)
    return image


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One draw from low..high."""
    draw = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * draw.item()


def _happens(probability: float, generator: torch.Generator) -> bool:
    """One draw: never at 0, always at 1."""
    return _uniform(0, 1, generator) < probability


def _check_range(name: str, value: tuple[float, ...], smallest: float) -> None:
    if len(value) != 2 or not smallest <= value[0] <= value[1] <= _MOST:
        raise ConfigError(
            f"{name} must be two rising numbers from {smallest:g} to {_MOST:g}; found {value}."
        )


def _check_sample(
    image: Tensor,
    labels: Tensor,
    crop: tuple[int, ...],
    center: tuple[float, ...],
    config: AugmentationConfig,
) -> None:
    dims = labels.ndim
    if image.shape[1:] != labels.shape:
        raise DatasetError(
            "Image and labels must have one size; "
            f"found {tuple(image.shape[1:])} and {tuple(labels.shape)}."
        )
    if dims not in (2, 3) or len(crop) != dims or len(center) != dims or min(crop) < 1:
        raise ConfigError(
            f"A crop of {crop} around {center} does not fit an image of {dims} dimensions."
        )
    if any(axis >= dims for axis in config.mirror_axes):
        raise ConfigError(
            f"mirror_axes {config.mirror_axes} name an axis that a {dims}D image lacks."
        )
