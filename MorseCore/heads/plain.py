"""The plain head: one 1x1 convolution on the finest map, interpolated between pixels."""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import Head, HeadConfig
from MorseCore.heads.pointwise import PointwiseLinear
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
    """The plain head has nothing to choose."""

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "PlainHead":
        """The head.

        :raises ConfigError: if the backbone has no decoder.
        """
        refuse_encoder(spec, what="The head 'plain'")
        return PlainHead(spec, num_classes=num_classes)


class PlainHead(Head):
    """The baseline of all papers: the backbone's own pixel-wise classifier."""

    loss_weights = MappingProxyType({"sup": 1.0})

    def __init__(self, spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.classify = PointwiseLinear(spec.channels[-1], num_classes)

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A field that interpolates the logits of the finest map."""
        return PlainField(self.classify.on_map(pyramid.levels[-1]), pyramid.size)


class PlainField(Field):
    """Linear interpolation of a map of logits; coarse and final answer are the same."""

    def __init__(self, values: Tensor, size: tuple[int, ...]) -> None:
        self.size, self.batch = size, values.shape[0]
        self._values = values
        self._rows: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self._values.device

    def coarse(self, coords: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = to_rows(self._values)
        return sample_rows(self._rows, self._values.shape[2:], coords)

    def logits(self, coords: Tensor) -> Tensor:
        return self.coarse(coords)

    def coarse_grid(self, axes: Axes) -> Tensor:
        return sample_grid(self._values, axes)

    def memory(self) -> int:
        """Bytes of the map and of its rows for points, at most four a number."""
        return self._values.nbytes + 4 * self._values.numel()
