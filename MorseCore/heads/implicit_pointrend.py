"""Implicit PointRend: each image has its own point MLP, whose parameters a head predicts.

``B`` batch, ``C`` classes, ``P`` points, ``D`` dimensions, ``W`` width of the point MLP,
``F`` channels of the fine features, ``L`` frequencies.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.parts.feature_head import PointFeatures
from MorseCore.heads.parts.fourier import FourierEncoding
from MorseCore.heads.parts.image_source import (
    ImageSourceKind,
    check_image_channels,
    make_image_source,
    needed_image,
)
from MorseCore.heads.parts.linear_pyramid import LinearPyramid
from MorseCore.heads.parts.pointhead import PointField, PointHead
from MorseCore.losses import POINT_LOSSES

__all__ = ["ImplicitPointRendConfig", "ImplicitPointRendField", "ImplicitPointRendHead"]


@dataclass(frozen=True)
class ImplicitPointRendConfig(HeadConfig):
    """Sizes of an :class:`ImplicitPointRendHead`."""

    width: int = 64
    """Width of the point MLP's three hidden layers (256 in detectron2, which would need a last
    parameter layer of 272 M weights behind 1024 units)."""
    features: int = 64
    """Channels that the fine features are projected to."""
    frequencies: int = 128
    """L: the positional encoding has 2L features."""
    sigma: float = 1.0
    """Standard deviation of the encoding's fixed frequencies."""
    hidden: int = 256
    """Width of the parameter head's two hidden layers (1024 in detectron2)."""
    pool: int = 1
    """The parameter head sees the coarsest map averaged over this many cells an axis; 1 is the
    mean over the image (detectron2: an instance's box at 7x7 after a convolution)."""
    penalty: float = 1e-5
    """Weight of the mean square of the predicted parameters."""
    loss: Literal["ce", "dice_ce"] = "ce"
    """Of the points: cross-entropy, or half of it, half Dice."""
    image: ImageSourceKind = "none"
    """What the points look up in the image itself, beside the fine features: see
    :mod:`MorseCore.heads.parts.image_source`. Not in the paper."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_image_channels(self.image_channels)
        for name in ("width", "features", "frequencies", "sigma", "hidden", "pool"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"'{name}' must be positive; found {getattr(self, name)}.")
        if self.penalty < 0:
            raise ConfigError(f"'penalty' must not be negative; found {self.penalty}.")

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "ImplicitPointRendHead":
        """The head."""
        return ImplicitPointRendHead(self, spec, num_classes=num_classes)


class ImplicitPointRendHead(PointHead):
    """Implicit PointRend (Cheng, Parkhi, Kirillov 2022; [3] of MORSE) with the image as instance.

    There is no coarse mask: a point MLP answers from [psi(p), fine features at p] anywhere, with
    psi of fixed Gaussian frequencies, and its parameters are predicted from the image. It is
    trained at points, which the paper draws uniformly (sampler ``uncertain`` with ``importance``
    0), with L2 on the predicted parameters (``param``; as in detectron2 their mean square).

    Ours: the sizes (see the options), fine features from MORSE's linear pyramid, classes with
    softmax, and the start: in detectron2 the last parameter layer begins near zero, so that the
    point MLP is zero and hardly learns; here its *bias* begins as a common point MLP, and what an
    image adds to it begins small.
    """

    def __init__(
        self, config: ImplicitPointRendConfig, spec: PyramidSpec, *, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        dims, hidden = spec.spatial_dims, config.hidden
        self.loss_weights = MappingProxyType({"sup": 1.0, "param": config.penalty})
        self.encoding = FourierEncoding(
            dims, config.frequencies, sigma=config.sigma, kind="gaussian_fixed"
        )
        self.pyramid = LinearPyramid(spec, levels=len(spec.channels), width=config.features)
        self.image = make_image_source(config.image, spec, channels=config.image_channels)
        inputs = self.encoding.channels + config.features
        inputs += 0 if self.image is None else self.image.channels
        self.widths = (inputs, *[config.width] * 3, num_classes)
        """Of the point MLP, from its input to C."""
        count = sum(a * b + b for a, b in pairwise(self.widths))
        self.parameter_head = nn.Sequential(
            nn.Linear(spec.channels[0] * config.pool**dims, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, count),
        )
        self._start(self.parameter_head[-1])

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """An :class:`ImplicitPointRendField`; nothing in it is random."""
        pooled = _pool(pyramid.levels[0], self.config.pool)
        parameters = self.parameter_head(pooled.flatten(1))
        seen = None if self.image is None else self.image(needed_image(image))
        return ImplicitPointRendField(self, self.pyramid(pyramid, seen), parameters)

    def point_losses(
        self,
        field: Field,
        coords: Tensor,
        labels: Tensor,
        *,
        active: Collection[str],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """``sup`` at the points, ``param`` the mean square of the predicted parameters."""
        if not isinstance(field, ImplicitPointRendField):
            raise TypeError("This head takes losses of its own fields only.")
        losses = {}
        if "sup" in active:
            losses["sup"] = POINT_LOSSES[self.config.loss](field.logits(coords), labels)
        if "param" in active:
            losses["param"] = field.parameters.float().square().mean()
        return losses

    @torch.no_grad()
    def _start(self, last: nn.Module) -> None:
        """The bias as a point MLP with He's weights, the weights small beside it."""
        assert isinstance(last, nn.Linear)
        parts = []
        for a, b in pairwise(self.widths):
            parts += [torch.randn(a * b, device=last.bias.device) * sqrt(2 / a)]
            parts += [torch.zeros(b, device=last.bias.device)]
        last.bias.copy_(torch.cat(parts))
        nn.init.normal_(last.weight, std=0.01)


class ImplicitPointRendField(PointField):
    """A point MLP an image; coarse and final answer are the same."""

    def __init__(
        self, head: ImplicitPointRendHead, features: PointFeatures, parameters: Tensor
    ) -> None:
        self.size, self.batch = features.size, features.batch
        self.parameters = parameters
        """(B, number of the point MLP's parameters)."""
        self._head, self._features = head, features
        self._layers = split_parameters(parameters, head.widths)

    @property
    def device(self) -> torch.device:
        return self._features.device

    def logits(self, coords: Tensor) -> Tensor:
        _, features = self._features.pair(coords)
        x = torch.cat([self._head.encoding(coords).to(features.dtype), features], dim=-1)
        for n, (weight, bias) in enumerate(self._layers):
            x = functional.relu(x) if n else x
            x = torch.baddbmm(bias.to(x.dtype), x, weight.to(x.dtype))
        return x

    def memory(self) -> int:
        return self._features.memory() + self.parameters.nbytes


def split_parameters(parameters: Tensor, widths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Parameters of an MLP, a row an image: weights (B, inputs, outputs), biases (B, 1, outputs).

    :param parameters: (B, N), layer by layer, weights before biases.
    """
    sizes = [n for a, b in pairwise(widths) for n in (a * b, b)]
    parts = parameters.split(sizes, dim=1)
    return [
        (parts[2 * n].view(-1, a, b), parts[2 * n + 1][:, None])
        for n, (a, b) in enumerate(pairwise(widths))
    ]


def _pool(level: Tensor, cells: int) -> Tensor:
    """(B, C, *S) -> (B, C, *cells), means."""
    pool = functional.adaptive_avg_pool2d if level.ndim == 4 else functional.adaptive_avg_pool3d
    return pool(level, cells)
