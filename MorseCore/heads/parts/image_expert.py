"""The expert of a mixture that reads the image, at the points only.

``B`` batch, ``E`` experts of the pyramid, ``P`` points, ``W`` feature width, ``F`` features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.heads.parts.image_source import ImageFeatures, ImageSource
from MorseCore.heads.parts.pointwise import PointwiseLinear, PointwiseMLP

__all__ = ["ImageExpert"]


class ImageExpert(nn.Module):
    """One more expert, whose map is never made: F_image(p) of an image source, and its weight.

    It is an MLP like the other experts'. Its gate cannot be a convolution over maps that do not
    exist, so it is a linear layer on what the others' mixture and this expert say at the point. The
    logit joins the others' in one softmax::

        W_image = exp(g_image) / (exp(g_image) + sum_i exp(g_i)),    W_i becomes (1 - W_image) W_i

    so all weights sum to one. The gate starts at zero, with which all E + 1 weigh alike.
    """

    def __init__(self, source: ImageSource, *, width: int) -> None:
        """:param width: W."""
        super().__init__()
        self.source = source
        self.expert = PointwiseMLP([source.channels, width, width])
        self.gate = PointwiseLinear(2 * width, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(
        self, seen: ImageFeatures, coords: Tensor, mixed: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The expert's feature (B, P, W) and its weight (B, P, 1).

        :param seen: of the source.
        :param mixed: the other experts' mixture (B, P, W).
        :param gate: their logits (B, P, E), -inf for one that is left out.
        """
        feature: Tensor = self.expert(seen(coords))
        own = self.gate(torch.cat([mixed.to(feature.dtype), feature], dim=-1)).float()
        weight = functional.sigmoid(own - gate.float().logsumexp(-1, keepdim=True))
        return feature, weight
