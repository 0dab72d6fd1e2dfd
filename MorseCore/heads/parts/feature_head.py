"""Heads that answer from a feature x_out at the point: what MORSE's rows and PointRend share.

``B`` batch, ``C`` classes, ``P`` points, ``W`` feature width, ``D`` dimensions.
"""

from abc import abstractmethod
from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.field import Field
from MorseCore.heads.head import Head
from MorseCore.heads.parts.pointwise import PointwiseLinear
from MorseCore.heads.parts.rendering_head import RenderingHead
from MorseCore.heads.plain import PlainField
from MorseCore.points import Axes
from MorseCore.system.seeds import home_of

__all__ = ["CoarseSource", "FeatureField", "FeatureHead", "PointFeatures"]

CoarseSource = Literal["mixture", "backbone"]


class PointFeatures(Protocol):
    """x_out of one batch of images, at points and on grids."""

    size: tuple[int, ...]
    """S of the image."""

    @property
    def batch(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, coords: Tensor) -> Tensor:
        """x_out at coordinates: (B, P, D) -> (B, P, W)."""
        ...

    def pair(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """x_out for the coarse logits, and for rendering: with what the image shows, if anything.

        (B, P, W) and (B, P, W or more); one tensor twice where the image is not looked at.
        """
        ...

    def on_grid(self, axes: Axes) -> Tensor:
        """x_out on a product grid: (B, W, *lengths of the axes)."""
        ...

    def weights(self, coords: Tensor) -> Tensor | None:
        """W_i of the experts behind x_out, as of :meth:`Field.gates`; None where there are none."""
        ...

    def memory(self) -> int:
        """Bytes of the maps, twice: once as maps and once as rows for points."""
        ...


class FeatureHead(Head):
    """Features at points, a coarse classifier, and a rendering head where there is one.

    Coarse logits: v = Linear(dropout(x_out)) (``mixture``), or the backbone's own, a linear layer
    on the finest map (``backbone``), as in PointRend and in MORSE's released 2D code; there the
    mixture feeds only the points, so that "MoE" has no effect on the mask that is evaluated.
    Without a rendering head the coarse answer is the final one and there is no L_rend.
    L_rend reaches x_out, v and the backbone; only the choice of points has no gradient.
    """

    classify: PointwiseLinear
    """Of x_out, or of the finest map."""
    render: RenderingHead | None

    def __init__(self, *, dropout: float = 0.0, coarse_source: CoarseSource = "mixture") -> None:
        """Subclasses add what makes x_out, then call :meth:`set_answers`.

        :param dropout: of the channels of x_out before the coarse classifier.
        """
        super().__init__()
        self._dropout, self._coarse_source = dropout, coarse_source

    def set_answers(
        self,
        spec: PyramidSpec,
        *,
        width: int,
        num_classes: int,
        rendering: Callable[[], RenderingHead] | None,
    ) -> None:
        """Make the coarse classifier and the rendering head, and name the losses accordingly.

        :param width: W.
        :param rendering: makes the rendering head; None for none.
        """
        self._width = width
        inputs = width if self._coarse_source == "mixture" else spec.channels[-1]
        self.classify = PointwiseLinear(inputs, num_classes)
        self.render = None if rendering is None else rendering()
        if rendering is None:
            self.loss_weights = MappingProxyType({"sup": 1.0})

    @abstractmethod
    def features(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> PointFeatures:
        """x_out of a batch of images; ``image`` for a head that looks it up at the points."""

    def image_parameters(self) -> list[nn.Parameter]:
        """Of what reads the image at the points; nothing where nothing does."""
        return []

    def rendering_parameters(self) -> list[nn.Parameter]:
        """The rendering head's, its encoding included, and what reads the image for it."""
        if self.render is None:
            return []
        return [*self.render.parameters(), *self.image_parameters()]

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A :class:`FeatureField`; in training mode with one draw of channel dropout an image."""
        features = self.features(pyramid, image=image, generator=generator)
        if self._coarse_source == "backbone":
            values = self.classify.on_map(pyramid.levels[-1])
            return FeatureField(self, features, own=PlainField(values, pyramid.size))
        dropout = None
        if self.training:
            dropout = _channel_dropout(
                features.batch, self._width, rate=self._dropout, generator=generator
            ).to(pyramid.levels[-1])
        return FeatureField(self, features, dropout=dropout)


class FeatureField(Field):
    """Coarse logits, and rendered ones from the rendering head on top of them."""

    def __init__(
        self,
        head: FeatureHead,
        features: PointFeatures,
        *,
        dropout: Tensor | None = None,
        own: PlainField | None = None,
    ) -> None:
        """:param dropout: (B, W) factors of x_out before the coarse classifier.
        :param own: the backbone's own logits, if they are the coarse ones.
        """
        self.size, self.batch = features.size, features.batch
        self.features = features
        """x_out; of experts, ``features.weights(coords)`` are the mixture weights."""
        self._head, self._dropout, self._own = head, dropout, own

    @property
    def device(self) -> torch.device:
        return self.features.device

    def coarse(self, coords: Tensor) -> Tensor:
        return (
            self._classify(self.features(coords)) if self._own is None else self._own.coarse(coords)
        )

    def logits(self, coords: Tensor) -> Tensor:
        if self._head.render is None:
            return self.coarse(coords)
        features, seen = self.features.pair(coords)
        coarse = self._classify(features) if self._own is None else self._own.coarse(coords)
        rendered: Tensor = self._head.render(coords, seen, coarse)
        return rendered

    def coarse_grid(self, axes: Axes) -> Tensor:
        if self._own is not None:
            return self._own.coarse_grid(axes)
        features = self.features.on_grid(axes)
        if self._dropout is not None:
            shape = (*self._dropout.shape, *[1] * len(self.size))
            features = features * self._dropout.view(shape)
        return self._head.classify.on_map(features)

    def gates(self, coords: Tensor) -> Tensor | None:
        return self.features.weights(coords)

    def memory(self) -> int:
        return self.features.memory() + (self._own.memory() if self._own is not None else 0)

    def _classify(self, features: Tensor) -> Tensor:
        if self._dropout is not None:
            features = features * self._dropout[:, None]
        logits: Tensor = self._head.classify(features)
        return logits


def _channel_dropout(
    batch: int, channels: int, *, rate: float, generator: torch.Generator | None
) -> Tensor:
    """(B, W) factors 0 or 1 / (1 - rate): one draw an image, for its points and maps alike."""
    home = home_of(generator)
    keep = torch.rand(batch, channels, generator=generator, device=home) >= rate
    return keep / (1 - rate)
