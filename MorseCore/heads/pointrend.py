"""PointRend as MORSE compares with it; MORSE's row IAR adds a positional encoding to it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.parts.feature_head import CoarseSource, FeatureHead
from MorseCore.heads.parts.image_source import (
    ImageSource,
    ImageSourceKind,
    check_image_channels,
    make_image_source,
    needed_image,
)
from MorseCore.heads.parts.linear_pyramid import LinearPyramid, LinearPyramidFeatures
from MorseCore.heads.parts.rendering_head import RenderingHead
from MorseCore.heads.plain import refuse_encoder

__all__ = ["PointRendConfig", "PointRendHead"]


@dataclass(frozen=True)
class PointRendConfig(HeadConfig):
    """``+PointRend``; the defaults are those of MORSE's released code."""

    width: int = 256
    """Channels of the fine features."""
    levels: int = 0
    """How many of the finest maps they are made of; 0 takes all, 1 the finest alone."""
    point_width: int = 256
    """Width of the point head's three hidden layers."""
    reinject: bool = True
    """Feed the coarse logits to every layer (detectron2's default; its semantic configurations
    have it off)."""
    image: ImageSourceKind = "none"
    """What the points look up in the image itself, beside the fine features: see
    :mod:`MorseCore.heads.parts.image_source`. Not in the paper."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_image_channels(self.image_channels)
        if self.width < 1 or self.point_width < 1 or self.levels < 0:
            raise ConfigError(
                "'width' and 'point_width' must be positive and 'levels' must not be negative; "
                f"found {self.width}, {self.point_width} and {self.levels}."
            )

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "PointRendHead":
        """The head.

        :raises ConfigError: if the backbone has fewer maps than asked for, or no decoder.
        """
        refuse_encoder(spec, what="The head 'pointrend'")
        if self.levels > len(spec.channels):
            raise ConfigError(
                f"'levels' is {self.levels}, but the backbone has {len(spec.channels)} maps."
            )
        image = make_image_source(self.image, spec, channels=self.image_channels)
        inputs = self.width + (0 if image is None else image.channels)
        return PointRendHead(
            spec, num_classes=num_classes, levels=self.levels or len(spec.channels),
            width=self.width, dropout=0.0, coarse_source="backbone", image=image,
            rendering=partial(
                RenderingHead, inputs, width=self.point_width, num_classes=num_classes,
                encoding=None, reinject=self.reinject, residual=False,
            ),
        )  # fmt: skip


class PointRendHead(FeatureHead):
    """PointRend (Kirillov 2020) for semantic segmentation: a point head on uncertain points.

    Its input is [fine features at p, coarse logits at p]. The fine features are MORSE's linear
    pyramid (detectron2: chosen maps of an FPN); the coarse logits are the backbone's own, at the
    resolution of its finest map (detectron2: stride 4, doubled between passes).
    """

    def __init__(
        self,
        spec: PyramidSpec,
        *,
        num_classes: int,
        levels: int,
        width: int,
        dropout: float,
        coarse_source: CoarseSource,
        rendering: Callable[[], RenderingHead],
        image: ImageSource | None = None,
    ) -> None:
        """:param levels: number of the finest maps that the features are made of.
        :param width: channels of the features.
        :param image: what the points look up in the image; None for nothing.
        """
        super().__init__(dropout=dropout, coarse_source=coarse_source)
        self.pyramid = LinearPyramid(spec, levels=levels, width=width)
        self.image = image
        self.set_answers(spec, width=width, num_classes=num_classes, rendering=rendering)

    def features(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> LinearPyramidFeatures:
        """x_out; nothing in it is random."""
        seen = None if self.image is None else self.image(needed_image(image))
        return self.pyramid(pyramid, seen)

    def image_parameters(self) -> list[nn.Parameter]:
        """The stem's."""
        return [] if self.image is None else list(self.image.parameters())
