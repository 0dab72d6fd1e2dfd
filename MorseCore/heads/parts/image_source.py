"""What a point may look up in the image at its own resolution: a small stem, or raw intensities.

A pyramid holds what the backbone made of the image at its strides. An image source reads the image
once more, only around the points that are asked, for a rendering head or an expert.

``B`` images, ``P`` points, ``F`` features, ``C`` image channels, ``D`` dimensions, ``*S`` space.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import conv
from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.parts.bricks import (
    Corners,
    find_bricks,
    find_corners,
    flat_pixels,
    rows_in_bricks,
    weigh_rows,
)

__all__ = [
    "ImageFeatures",
    "ImageSource",
    "ImageSourceKind",
    "ImageStem",
    "RawNeighbourhood",
    "check_image_channels",
    "local_contrast",
    "make_image_source",
    "needed_image",
]

ImageSourceKind = Literal["none", "stem", "raw"]

_BOX = 2  # pixels to each side that the local mean and deviation are taken of
_LAYERS = 2  # 3x3 convolutions: with the box each feature sees 9 pixels an axis
_SIDE = {2: 8, 3: 4}  # of a brick; the halo makes larger ones cheaper, stray points smaller ones
_LEAST_CONTRAST = 0.1  # of a normalised image; noise of a flat part is not blown up to contrast


class ImageFeatures(ABC):
    """What one batch of images shows at points."""

    evaluated: int = 0
    """Pixels that were worked on so far, of all images and questions together."""

    @abstractmethod
    def __call__(self, coords: Tensor) -> Tensor:
        """(B, P, D) -> (B, P, F)."""

    @abstractmethod
    def memory(self) -> int:
        """Bytes that are kept."""


class ImageSource(nn.Module, ABC):
    """Makes :class:`ImageFeatures` of images."""

    channels: int
    """F."""

    @abstractmethod
    def forward(self, image: Tensor) -> ImageFeatures:
        """Of a batch (B, C, *S), the network's input."""


def make_image_source(
    kind: ImageSourceKind, spec: PyramidSpec, *, channels: int
) -> ImageSource | None:
    """The source that a head's option ``image`` names; None for ``none``.

    :param channels: of a stem.
    """
    if kind == "none":
        return None
    if kind == "raw":
        return RawNeighbourhood(spec.spatial_dims, spec.image_channels)
    return ImageStem(spec.spatial_dims, spec.image_channels, channels=channels)


def check_image_channels(channels: int) -> None:
    """Refuse a stem without channels.

    :raises ConfigError: with the option's name and value.
    """
    if channels < 1:
        raise ConfigError(f"'image_channels' must be positive; found {channels}.")


def needed_image(image: Tensor | None) -> Tensor:
    """The image, for a head that cannot do without.

    :raises ValueError: if the caller has only the pyramid.
    """
    if image is None:
        raise ValueError("a head with an 'image' source needs the image beside the pyramid")
    return image


def local_contrast(image: Tensor) -> Tensor:
    """Each pixel against the mean of its box of 5^D, in units of the deviation there.

    (N, C, *S + 4) -> (N, C, *S): where the box is not whole there is no answer. It is the same for
    a bright and a dim part of an image, for a bias field and for another window level. Statistics
    of a box, not of the image, so that a part can be computed alone.
    """
    with torch.autocast(image.device.type, enabled=False):
        image = image.float()
        inner = (slice(None), slice(None), *[slice(_BOX, -_BOX)] * (image.ndim - 2))
        mean, square = _box_mean(image), _box_mean(image * image)
        variance = (square - mean * mean).clamp_min(0)
        return (image[inner] - mean) * (variance + _LEAST_CONTRAST**2).rsqrt()


class ImageStem(ImageSource):
    """Two 3x3 convolutions on the local contrast of the image, at its own resolution.

    A feature sees 9 pixels an axis: the 5 of the contrast and one more on each side a convolution.
    There is no normalisation over space and no padding between the layers, so a brick's answer does
    not depend on what else is computed. Weights start as He et al.'s (2015).
    """

    halo = _BOX + _LAYERS
    """Pixels to each side that a feature sees."""

    def __init__(self, spatial_dims: int, image_channels: int, *, channels: int) -> None:
        super().__init__()
        self.channels, self.side = channels, _SIDE[spatial_dims]
        convolution, inputs = conv(spatial_dims), image_channels
        layers = []
        for _ in range(_LAYERS):
            layer = convolution(inputs, channels, 3)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            layers.append(layer)
            inputs = channels
        self.layers = nn.ModuleList(layers)

    def forward(self, image: Tensor) -> "StemFeatures":
        """A look-up that computes the stem where it is asked."""
        return StemFeatures(self, image)

    def inner(self, part: Tensor) -> Tensor:
        """Features of a part, without its halo: (N, C, *b + 8) -> (N, F, *b)."""
        x = local_contrast(part)
        for layer in self.layers:
            x = functional.relu(layer(x))
        return x

    def dense(
        self, image: Tensor, box: tuple[Sequence[int], Sequence[int]] | None = None
    ) -> Tensor:
        """Features of every pixel: (B, C, *S) -> (B, F, *S). Beyond the image stands its edge.

        :param box: (start, stop), if not all are wanted.
        """
        size = image.shape[2:]
        bounds = list(zip(*(box or ([0] * len(size), size)), size, strict=True))
        inside = [slice(max(0, a - self.halo), min(n, b + self.halo)) for a, b, n in bounds]
        missing = [(max(0, self.halo - a), max(0, b + self.halo - n)) for a, b, n in bounds]
        part = image[(slice(None), slice(None), *inside)]
        pad = [n for ends in reversed(missing) for n in ends]
        return self.inner(functional.pad(part, pad, mode="replicate"))


class StemFeatures(ImageFeatures):
    """Features of an :class:`ImageStem`, interpolated at points.

    The stem is computed in the bricks that hold an asked pixel, so that its cost grows with the
    points. Where the bricks with their halo would be more than the box around all that is asked,
    all of the box is computed.
    """

    def __init__(self, stem: ImageStem, image: Tensor) -> None:
        self._stem, self._image = stem, image
        self.evaluated = 0

    def __call__(self, coords: Tensor) -> Tensor:
        size, side = tuple(self._image.shape[2:]), self._stem.side
        if not coords.shape[1]:
            return coords.new_empty(len(coords), 0, self._stem.channels)
        corners = find_corners(coords, size)
        bricks = find_bricks(corners.pixel, size, side=side, images=len(self._image))
        asked = corners.pixel.flatten(0, 2)
        low, high = asked.amin(0).tolist(), (asked.amax(0) + 1).tolist()
        extent = [b - a + _LAYERS for a, b in zip(low, high, strict=True)]
        if len(bricks) * (side + _LAYERS) ** len(size) > len(self._image) * prod(extent):
            return self._of_box(corners, low, high)
        rows = rows_in_bricks(
            self._image, bricks, self._stem.inner, side=side, halo=self._stem.halo
        )
        self.evaluated += len(rows)
        return weigh_rows(rows, bricks.row, corners.weight)

    def memory(self) -> int:
        return self._image.nbytes

    def _of_box(self, corners: Corners, low: list[int], high: list[int]) -> Tensor:
        """From the features of every pixel of a box, that of each image one brick."""
        size = [b - a for a, b in zip(low, high, strict=True)]
        pixel = corners.pixel - torch.tensor(low, device=corners.pixel.device)
        row = flat_pixels(pixel, size, images=len(self._image))
        dense = self._stem.dense(self._image, (low, high))
        rows = dense.flatten(2).transpose(1, 2).flatten(0, 1)
        self.evaluated += len(rows)
        return weigh_rows(rows, row, corners.weight)


class RawNeighbourhood(ImageSource):
    """The intensities at a point and one pixel beside it along each axis and diagonal: 3^D values.

    As the network sees them, normalised over the image and not locally; nothing is learned. The
    cheap rival of a stem.
    """

    def __init__(self, spatial_dims: int, image_channels: int) -> None:
        super().__init__()
        self.channels = image_channels * 3**spatial_dims

    def forward(self, image: Tensor) -> "RawFeatures":
        """A look-up of intensities."""
        return RawFeatures(image)


class RawFeatures(ImageFeatures):
    """Intensities around points, linearly interpolated; beyond the image stands its edge."""

    def __init__(self, image: Tensor) -> None:
        self._image = image
        self.evaluated = 0

    def __call__(self, coords: Tensor) -> Tensor:
        size = self._image.shape[2:]
        corners = find_corners(coords, size)
        steps = torch.cartesian_prod(*[torch.arange(-1, 2, device=coords.device)] * len(size))
        near = corners.pixel[..., None, :] + steps  # (B, P, K, 3^D, D)
        last = torch.tensor(size, device=coords.device) - 1
        index = flat_pixels(near.clamp_min(0).minimum(last), size, images=len(self._image))
        self.evaluated += index.numel()
        values = self._image.transpose(0, 1).flatten(1)[:, index]  # (C, B, P, K, 3^D)
        found = (values * corners.weight[..., None]).sum(3)  # no product that autocast would round
        return found.permute(1, 2, 0, 3).flatten(2)

    def memory(self) -> int:
        return self._image.nbytes


def _box_mean(values: Tensor) -> Tensor:
    """Means of boxes of 5^D: (N, C, *S + 4) -> (N, C, *S), axis by axis."""
    width = 2 * _BOX + 1
    for axis in range(2, values.ndim):
        count = values.shape[axis] - width + 1
        total = values.narrow(axis, 0, count).clone()
        for step in range(1, width):
            total += values.narrow(axis, step, count)
        values = total
    return values / width ** (values.ndim - 2)
