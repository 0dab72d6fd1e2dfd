"""The network: a backbone and a head, as one module."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from MorseCore.backbones import BACKBONES, Backbone, BackboneConfig, Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads import HEADS, Head, HeadConfig

__all__ = ["Network", "NetworkConfig"]


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

    def __post_init__(self) -> None:
        if self.in_channels < 1:
            raise ConfigError(f"'in_channels' must be positive; found {self.in_channels}.")

    def filled(self, network: "Network") -> "NetworkConfig":
        """With the sizes that a preset of the head stands for, as ``network`` was built with."""
        return replace(self, head=self.head.filled(self._spec(network.backbone)))

    def build(self, *, num_classes: int) -> "Network":
        """The network, with background as class 0 of ``num_classes``."""
        backbone = self.backbone.build(in_channels=self.in_channels, spatial_dims=self.spatial_dims)
        return Network(backbone, self.head.build(self._spec(backbone), num_classes=num_classes))

    def _spec(self, backbone: Backbone) -> PyramidSpec:
        """What the head is told: the backbone's maps, and the image that it may read itself."""
        return replace(backbone.spec, image_channels=self.in_channels)


class Network(nn.Module):
    """image -> backbone -> pyramid -> head -> field.

    Example::

        field = network(image)                  # (B, C_in, *S)
        field.logits(coords)                    # (B, P, D) -> (B, P, C)
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @property
    def divisor(self) -> int:
        """Every side of an image must be a multiple of this."""
        return self.backbone.spec.divisor

    def check_size(self, size: Sequence[int], *, what: str = "the image") -> None:
        """Refuse an image of this size, called ``what`` in the message.

        :raises ConfigError: if the backbone cannot take it.
        """
        self.backbone.spec.check_size(size, what=what)

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
        pyramid: Pyramid = self.backbone(image)
        pyramid = replace(pyramid, to_source=to_source)
        return self.head.prepare(pyramid, image=image, generator=generator)
