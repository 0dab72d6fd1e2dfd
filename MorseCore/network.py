"""The network: a backbone and a head, as one module."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones import BACKBONES, Backbone, BackboneConfig, Pyramid, PyramidSpec
from MorseCore.config import encode
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads import HEADS, Head, HeadConfig
from MorseCore.limits import check_bounds, check_network

__all__ = ["MAX_STRIDE", "Network", "NetworkConfig", "averaged"]

MAX_STRIDE = 8  # of the backbone's input; coarser ones see nothing of what is to be outlined


@dataclass(frozen=True)
class NetworkConfig:
    """Which backbone with which head."""

    backbone: BackboneConfig = field(metadata={"registry": BACKBONES})
    """Registered backbone, e.g. ``{"name": "unet3d", "channels": [16, 32, 64, 128]}``."""
    head: HeadConfig = field(metadata={"registry": HEADS})
    """Registered head, e.g. ``{"name": "morse", "preset": "default"}``."""
    spatial_dims: Literal[2, 3] = 3
    """2 for slices, 3 for volumes."""
    in_channels: int = 1
    """Image channels."""
    backbone_stride: int = 1
    """The backbone sees the image averaged over so many pixels along each axis; 1: as it is.
    Windows, coordinates, labels and points stay the image's own, and a head with an ``image``
    source reads the image itself."""

    def __post_init__(self) -> None:
        if not 1 <= self.backbone_stride <= MAX_STRIDE:
            raise ConfigError(
                f"'backbone_stride' must lie between 1 and {MAX_STRIDE}; "
                f"found {self.backbone_stride}."
            )
        if self.in_channels < 1:
            raise ConfigError(f"'in_channels' must be positive; found {self.in_channels}.")
        check_bounds(self, in_channels=(1, 1024))
        check_network("backbone", encode(self.backbone))
        check_network("head", encode(self.head))

    def filled(self, network: "Network") -> "NetworkConfig":
        """With the sizes that a preset of the head stands for, as ``network`` was built with."""
        return replace(self, head=self.head.filled(self._spec(network.backbone)))

    def build(self, *, num_classes: int) -> "Network":
        """The network, with background as class 0 of ``num_classes``."""
        backbone = self.backbone.build(in_channels=self.in_channels, spatial_dims=self.spatial_dims)
        head = self.head.build(self._spec(backbone), num_classes=num_classes)
        return Network(backbone, head, backbone_stride=self.backbone_stride)

    def _spec(self, backbone: Backbone) -> PyramidSpec:
        """What the head is told: the maps against the image, which it may read itself."""
        spec = backbone.spec.coarsened(self.backbone_stride)
        return replace(spec, image_channels=self.in_channels)


class Network(nn.Module):
    """image -> (averaged) -> backbone -> pyramid -> head -> field.

    With a ``backbone_stride`` of 2 the backbone works at half the resolution. The field's
    coordinates span the image as ever, so all that asks a field, and all that cuts windows, is the
    same. A mean of 2 pixels lies between them, where the coarse pixel has its centre.

    Example::

        field = network(image)                  # (B, C_in, *S)
        field.logits(coords)                    # (B, P, D) -> (B, P, C)
    """

    def __init__(self, backbone: Backbone, head: Head, *, backbone_stride: int = 1) -> None:
        """:param backbone_stride: pixels an axis that are one for the backbone."""
        super().__init__()
        self.backbone, self.head, self.backbone_stride = backbone, head, backbone_stride

    @property
    def divisor(self) -> int:
        """Every side of an image must be a multiple of this."""
        return self.backbone.spec.divisor * self.backbone_stride

    def check_size(self, size: Sequence[int], *, what: str = "the image") -> None:
        """Refuse an image of this size, called ``what`` in the message.

        :raises ConfigError: if the backbone cannot take it.
        """
        stride = self.backbone_stride
        if stride == 1:
            self.backbone.spec.check_size(size, what=what)
            return
        if any(n % stride for n in size):
            raise ConfigError(
                f"Every side of {what} must be a multiple of the 'backbone_stride' {stride}; "
                f"found {tuple(size)}."
            )
        self.backbone.spec.check_size(
            [n // stride for n in size], what=f"{what}, divided by the 'backbone_stride' {stride},"
        )

    def forward(
        self,
        image: Tensor,
        *,
        to_source: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """Prepare the field of a batch (B, C_in, *S).

        :param to_source: (B, D, D + 1), see :class:`Pyramid`.
        :raises ConfigError: if the backbone cannot take the image's size.
        """
        self.check_size(image.shape[2:])
        pyramid: Pyramid = self.backbone(averaged(image, self.backbone_stride))
        pyramid = replace(pyramid, size=tuple(image.shape[2:]), to_source=to_source)
        return self.head.prepare(pyramid, image=image, generator=generator)


def averaged(image: Tensor, stride: int) -> Tensor:
    """Means of ``stride`` pixels along each axis: (B, C, *S) -> (B, C, *S / stride)."""
    if stride == 1:
        return image
    pool = functional.avg_pool2d if image.ndim == 4 else functional.avg_pool3d
    return pool(image, stride)
