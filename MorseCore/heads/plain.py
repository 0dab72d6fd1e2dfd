"""The plain head: one convolution on the finest map, interpolated between pixels."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from MorseCore.backbones.layers import conv
from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import Head, HeadConfig
from MorseCore.heads.parts.pointwise import PointwiseLinear
from MorseCore.points import Axes, sample_grid, sample_rows, to_rows

__all__ = ["PlainConfig", "PlainHead", "refuse_encoder"]


def refuse_encoder(spec: PyramidSpec, *, what: str) -> None:
    """Refuse to classify the finest map of an encoder: only its first layers would be trained.

    The baselines of the papers that stand on an encoder all have a decoder.

    :param what: begins the sentence, and is what would classify that map.
    :raises ConfigError: if the backbone has no decoder.
    """
    if spec.is_encoder:
        raise ConfigError(
            f"{what} reads the finest map alone, which this backbone, an encoder without decoder, "
            "makes in its first layers; take a head that reads all maps, such as 'morse' with the "
            "'coarse_source' mixture, or 'i2net'."
        )


@dataclass(frozen=True)
class PlainConfig(HeadConfig):
    """The baseline as it is, and two variants of it."""

    kernel: Literal[1, 3] = 1
    """Of the classifier. MORSE's released UNet has 3: 1305 parameters for 16 channels and nine
    classes, in place of 153."""
    sharpen: float = 0.0
    """Above 0 the final answer is interpolated from sharpened logits, v + sharpen (v - mean of v
    with weights 1, 2, 1 along each axis); the coarse one stays what it is. Nothing is trained, so
    one training gives both. On a grid of step h linear interpolation moves a map by h^2/12 times
    its second derivative, averaging two pixels into one by h^2/32, this by - sharpen h^2/4: 0.5
    gives back a little more than both."""

    def __post_init__(self) -> None:
        if self.sharpen < 0:
            raise ConfigError(f"'sharpen' must not be negative; found {self.sharpen}.")

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "PlainHead":
        """The head.

        :raises ConfigError: if the backbone has no decoder.
        """
        refuse_encoder(spec, what="The head 'plain'")
        return PlainHead(self, spec, num_classes=num_classes)


class PlainHead(Head):
    """The baseline of all papers: the backbone's own pixel-wise classifier."""

    loss_weights = MappingProxyType({"sup": 1.0})

    def __init__(self, config: PlainConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.classify: nn.Module
        if config.kernel == 1:
            self.classify = PointwiseLinear(spec.channels[-1], num_classes)
        else:
            self.classify = conv(spec.spatial_dims)(spec.channels[-1], num_classes, 3, padding=1)

    @property
    def answers_twice(self) -> bool:
        """Whether it sharpens."""
        return self.config.sharpen > 0

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A field that interpolates the logits of the finest map."""
        finest = pyramid.levels[-1]
        if isinstance(self.classify, PointwiseLinear):
            values = self.classify.on_map(finest)
        else:
            values = self.classify(finest)
        return PlainField(values, pyramid.size, sharpen=self.config.sharpen)


class PlainField(Field):
    """Linear interpolation of a map of logits; coarse and final answer are the same.

    Unless it sharpens: then the final answer interpolates the sharpened map.
    """

    def __init__(self, values: Tensor, size: tuple[int, ...], *, sharpen: float = 0.0) -> None:
        self.size, self.batch = size, values.shape[0]
        self._values, self._sharpen = values, sharpen
        self._rows: Tensor | None = None
        self._sharp_rows: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self._values.device

    def coarse(self, coords: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = to_rows(self._values)
        return sample_rows(self._rows, self._values.shape[2:], coords)

    def logits(self, coords: Tensor) -> Tensor:
        if not self._sharpen:
            return self.coarse(coords)
        if self._sharp_rows is None:
            values = self._values.float()
            self._sharp_rows = to_rows(values + self._sharpen * (values - _smoothed(values)))
        return sample_rows(self._sharp_rows, self._values.shape[2:], coords)

    def coarse_grid(self, axes: Axes) -> Tensor:
        return sample_grid(self._values, axes)

    def memory(self) -> int:
        """Bytes of the map and of its rows for points, at most four a number."""
        tables = 2 if self._sharpen else 1
        return self._values.nbytes + 4 * tables * self._values.numel()


def _smoothed(values: Tensor) -> Tensor:
    """Means with weights 1, 2, 1 along each axis: (B, C, *S); beyond the map stands its edge."""
    for axis in range(2, values.ndim):
        n = values.shape[axis]
        before = torch.cat([values.narrow(axis, 0, 1), values.narrow(axis, 0, n - 1)], dim=axis)
        after = torch.cat([values.narrow(axis, 1, n - 1), values.narrow(axis, n - 1, 1)], dim=axis)
        values = (before + 2 * values + after) / 4
    return values
