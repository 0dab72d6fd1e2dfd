"""The SwIPE head: neck, patch and image decoder, and their losses."""

from collections.abc import Collection
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.field import Field
from MorseCore.heads.pointhead import PointHead
from MorseCore.heads.swipe.decoder import OccupancyDecoder
from MorseCore.heads.swipe.field import SwipeField
from MorseCore.heads.swipe.neck import Neck
from MorseCore.heads.swipe.patches import draw_neighbours
from MorseCore.losses import point_region_loss

if TYPE_CHECKING:
    from MorseCore.heads.swipe.config import SwipeConfig

__all__ = ["SwipeHead"]


class SwipeHead(PointHead):
    """Implicit patch embeddings (SwIPE): D^P(p^P, z^P, p^I, z^I, p^S) and D^I(p^I, z^I).

    Outputs are C logits and a softmax over background and classes; the paper's 2D model has one
    logit and a sigmoid, which for two classes is the same family of functions.

    Dropout of D^P is torch's own and draws from the global generator, which the training seeds
    anew for every batch.

    :param config: with every 0 filled, see :meth:`SwipeConfig.filled`.
    """

    def __init__(self, config: "SwipeConfig", spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.config, dims, width = config, spec.spatial_dims, config.embedding
        self.neck = Neck(spec, config.neck_sizes())
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

    def prepare(self, pyramid: Pyramid, *, generator: torch.Generator | None = None) -> Field:
        """A :class:`SwipeField`."""
        return SwipeField(
            self, self.neck(pyramid), size=pyramid.size, to_source=pyramid.to_source,
            blend=self.config.blend_neighbours and not self.training,
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
