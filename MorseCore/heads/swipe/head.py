"""The SwIPE head: its options, neck, patch and image decoder, and their losses.

Every part of the paper's ablation is a switch of the options.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.parts.pointhead import PointHead
from MorseCore.heads.swipe.decoder import OccupancyDecoder
from MorseCore.heads.swipe.field import SwipeField
from MorseCore.heads.swipe.mea import Fusion
from MorseCore.heads.swipe.neck import Embeddings, Neck, Resize
from MorseCore.heads.swipe.patches import draw_neighbours
from MorseCore.losses import point_region_loss

__all__ = ["SwipeConfig", "SwipeHead"]


@dataclass(frozen=True)
class SwipeConfig(HeadConfig):
    """Sizes and switches of a :class:`SwipeHead`; 0 and () take the value for 2D or 3D.

    Defaults follow the paper; where it contradicts the size of its own 2D model (d, MLP_2), they
    follow the model.
    """

    levels: int = 0
    """Maps of the pyramid, from the coarsest on; 0: four (the paper's), or all if fewer."""
    hidden: int = 64
    """h, channels of RFB-Lite and of the attention."""
    embedding: int = 0
    """d, length of z^P and z^I; 0: 256 in 2D (the paper says 128, its 2.7 M model has 256), 512 in
    3D."""
    patch_stride: int = 0
    """S: a patch has S pixels an axis; 0: 32 in 2D and 8 in 3D (the paper's)."""
    resize: Resize = "before"
    """Bring the embeddings to the S-grid ``before`` MEA (paper), ``after`` it (released 3D code),
    or take the coarsest map's own pixels as patches (``none``, released 2D code)."""
    rfb: bool = True
    """RFB-Lite; otherwise a 1x1 convolution, batch normalisation and ReLU."""
    cascade: bool = True
    """Add finer levels to coarser ones."""
    mea: Fusion = "released"
    """How the levels' embeddings become z^P: ``released`` (MEA without MLP_2, the published size),
    ``paper`` (with it), ``add``, ``concat``, ``attention``, ``se``, or ``off`` (the coarsest)."""
    image_embedding: Literal["coarsest", "patches"] = "coarsest"
    """z^I is the mean of the coarsest embedding F'_5 (paper) or of the map of z^P (code)."""
    image_decoder: bool = True
    """D^I, which gives the coarse answer; without it both answers are D^P's."""
    image_in_patch: bool = True
    """Give z^I and p^I to D^P."""
    source_coordinate: bool = True
    """Give p^S to D^P: where the point lies in the image that the crop was cut from."""
    frequencies: int = 6
    """Fixed Fourier frequencies an axis of p^P, given to D^P beside it (code only); 0: none."""
    patch_widths: tuple[int, ...] = ()
    """Hidden layers of D^P; (): 256 three times in 2D, four times in 3D."""
    image_widths: tuple[int, ...] = ()
    """Hidden layers of D^I; (): 256, 128 in 2D and 256, 256, 128 in 3D."""
    dropout: float = 0.1
    """After every hidden layer of D^P but the last."""
    neighbours: int = 0
    """con: 4 or 8 in 2D, 6 or 26 in 3D; 0: 8 and 6 (the paper's; the 3D code has 26)."""
    spo_copies: int = 8
    """N_SPO, copies of each point in neighbouring patches; 0 leaves SPO out."""
    patch_weight: float = 0.5
    """alpha of L^P; L^I has 1 - alpha. Without an image decoder L^P has 1."""
    spo_weight: float = 0.1
    """beta."""
    embedding_weight: float = 1e-4
    """lambda of |z^P|^2 + |z^I|^2."""
    blend_neighbours: bool = False
    """At inference, average the logits of a point over its patch and the neighbours (code only)."""

    def __post_init__(self) -> None:
        if self.hidden < 4 or self.hidden % 4:
            raise ConfigError(f"'hidden' must be a multiple of 4; found {self.hidden}.")
        for name in ("levels", "embedding", "patch_stride", "frequencies", "neighbours",
                     "spo_copies", "spo_weight", "embedding_weight"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigError(f"'{name}' must not be negative; found {getattr(self, name)}.")
        if min((1, *self.patch_widths, *self.image_widths)) < 1:
            raise ConfigError("'patch_widths' and 'image_widths' must be positive.")
        if not 0 <= self.patch_weight <= 1:
            raise ConfigError(f"'patch_weight' must lie in [0, 1]; found {self.patch_weight}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"'dropout' must lie in [0, 1); found {self.dropout}.")

    def filled(self, spec: PyramidSpec) -> "SwipeConfig":
        """With every 0 and () replaced.

        :raises ConfigError: if the backbone's maps or its dimensions do not allow what is asked.
        """
        dims, available = spec.spatial_dims, len(spec.channels)
        if self.levels > available:
            raise ConfigError(f"'levels' is {self.levels}, but the backbone has {available} maps.")
        levels = self.levels or min(4, available)
        if self.mea == "off" and not self.cascade:
            levels = 1  # nothing else would reach the embedding
        strides = spec.strides[:levels]
        if any(a % b for a, b in pairwise(strides)):
            raise ConfigError(
                "SwIPE's cascade needs a backbone whose strides are multiples of each other, "
                f"coarse to fine; found {strides}."
            )
        neighbours = self.neighbours or (8 if dims == 2 else 6)
        if neighbours not in (2 * dims, 3**dims - 1):
            raise ConfigError(
                f"'neighbours' must be {2 * dims} or {3**dims - 1} in {dims}D; found {neighbours}."
            )
        return replace(
            self, levels=levels, neighbours=neighbours,
            embedding=self.embedding or (256 if dims == 2 else 512),
            patch_stride=self.patch_stride or (32 if dims == 2 else 8),
            patch_widths=self.patch_widths or (256,) * (dims + 1),
            image_widths=self.image_widths or (256,) * (dims - 1) + (128,),
        )  # fmt: skip

    def loss_weights(self) -> dict[str, float]:
        """Names and weights of the losses; what is switched off is not among them."""
        weights = {"patch": 1.0}
        if self.image_decoder:
            weights = {"patch": self.patch_weight, "image": 1 - self.patch_weight}
        if self.spo_copies:
            weights["spo"] = self.spo_weight
        return {**weights, "emb": self.embedding_weight}

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "SwipeHead":
        """The head."""
        return SwipeHead(self.filled(spec), spec, num_classes=num_classes)


class SwipeHead(PointHead):
    """Implicit patch embeddings (SwIPE): D^P(p^P, z^P, p^I, z^I, p^S) and D^I(p^I, z^I).

    Outputs are C logits and a softmax over background and classes; the paper's 2D model has one
    logit and a sigmoid, which for two classes is the same family of functions.

    Dropout of D^P is torch's own and draws from the global generator, which the training seeds
    anew for every batch.

    :param config: with every 0 filled, see :meth:`SwipeConfig.filled`.
    """

    def __init__(self, config: SwipeConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.config, dims, width = config, spec.spatial_dims, config.embedding
        self.neck = Neck(
            spec, levels=config.levels, hidden=config.hidden, embedding=width,
            patch_stride=config.patch_stride, resize=config.resize, rfb=config.rfb,
            cascade=config.cascade, mea=config.mea, image_embedding=config.image_embedding,
        )  # fmt: skip
        local = dims * (1 + 2 * config.frequencies)
        local += dims * (config.image_in_patch + config.source_coordinate)
        self.patch_decoder = OccupancyDecoder(
            local, width * (1 + config.image_in_patch), config.patch_widths,
            outputs=num_classes, dropout=config.dropout,
        )  # fmt: skip
        self.image_decoder = None
        if config.image_decoder:
            self.image_decoder = OccupancyDecoder(
                dims, width, config.image_widths, outputs=num_classes, dropout=0.0
            )
        self.loss_weights = MappingProxyType(config.loss_weights())

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A :class:`SwipeField`."""
        return self.field_of(self.neck(pyramid), size=pyramid.size, to_source=pyramid.to_source)

    def field_of(
        self, embeddings: Embeddings, *, size: tuple[int, ...], to_source: Tensor | None
    ) -> SwipeField:
        """The field of images of this size with these embeddings."""
        config = self.config
        return SwipeField(
            embeddings, self.patch_decoder, self.image_decoder,
            size=size, to_source=to_source, neighbours=config.neighbours,
            frequencies=config.frequencies, image_in_patch=config.image_in_patch,
            source_coordinate=config.source_coordinate,
            blend=config.blend_neighbours and not self.training,
        )  # fmt: skip

    def point_losses(
        self,
        field: Field,
        coords: Tensor,
        labels: Tensor,
        *,
        active: Collection[str],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """L^P and L^I (``patch``, ``image``), L_SPO (``spo``), embeddings' squares (``emb``).

        L = L_PI + beta L_SPO + lambda (|z^P|^2 + |z^I|^2), L_PI = alpha L^P + (1 - alpha) L^I: the
        paper's form, in which L^P, L^I and L_SPO are L_occ of their points.
        The released code weakens L^P by L_SPO, and regularises the sum of squared *logits*.
        L_occ is half cross-entropy, half Dice with squares and +1, here over all classes.
        """
        if not isinstance(field, SwipeField):
            raise TypeError("This head takes losses of its own fields only.")
        patch, losses = field.patch_at(coords), {}
        if "patch" in active or "spo" in active:
            own, moved, copied = self._patch_answers(
                field, coords, patch, labels, copies="spo" in active, generator=generator
            )
            if "patch" in active:
                losses["patch"] = point_region_loss(own, labels, smooth=1.0)
            if "spo" in active:
                losses["spo"] = point_region_loss(moved, copied, smooth=1.0)
        if "image" in active:
            losses["image"] = point_region_loss(field.coarse(coords), labels, smooth=1.0)
        if "emb" in active:
            losses["emb"] = field.squared_norms(patch)
        return losses

    def _patch_answers(
        self,
        field: SwipeField,
        coords: Tensor,
        patch: Tensor,
        labels: Tensor,
        *,
        copies: bool,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D^P from a point's own patch, from N_SPO neighbours, and the labels of the latter.

        In one pass, so that batch normalisation sees in training the mixture whose running
        statistics it uses afterwards.
        """
        count = self.config.spo_copies if copies else 0
        drawn = draw_neighbours(patch, field.near, copies=count, generator=generator)
        logits = field.logits_from(
            coords.repeat(1, 1 + count, 1), torch.cat([patch, drawn.flatten(1)], dim=1)
        )
        points = coords.shape[1]
        return logits[:, :points], logits[:, points:], labels.repeat(1, count)
