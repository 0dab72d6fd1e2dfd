"""Multi-stage embedding attention and what the paper's ablation puts in its place.

Each module takes the L embeddings of the levels, (B, d, *G) each and on one grid G, and gives the
patch embedding z^P, (B, d, *G).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.backbones.layers import batch_norm, conv
from MorseCore.heads.swipe.rfb import conv_norm

__all__ = ["MEA", "Fusion", "build_fusion"]

Fusion = Literal["released", "paper", "add", "concat", "attention", "se", "off"]


def build_fusion(
    kind: Fusion, spatial_dims: int, *, width: int, hidden: int, levels: int
) -> nn.Module:
    """The module for a name that a configuration may use."""
    if kind in ("released", "paper"):
        return MEA(spatial_dims, width=width, hidden=hidden, levels=levels, project=kind == "paper")
    if kind == "concat":
        return Concatenation(spatial_dims, width=width, levels=levels)
    if kind == "attention":
        return SelfAttention(spatial_dims, width=width, hidden=hidden, levels=levels)
    if kind == "se":
        return SqueezeExcitation(spatial_dims, width=width, hidden=hidden, levels=levels)
    return Addition() if kind == "add" else Coarsest()


class MEA(nn.Module):
    """z^P = MLP_2( sum_n e_n + sum_n w_n e_n ), W = softmax over n of MLP_1(cat_n ReLU MLP_0(e_n)).

    SwIPE's multi-stage embedding attention; its stages n are 2 to 5, here fine to coarse.

    MLP_0, shared by the levels, is a 1x1 convolution to h/4 with batch normalisation; MLP_1 a 1x1
    convolution to one weight a level. The released 2D code ("weigh3") has no MLP_2, and with the
    published 2.7 M parameters there is no room for one; its 3D code has batch normalisation, ReLU
    and a 1x1 convolution there, which ``project`` adds.
    """

    def __init__(
        self, spatial_dims: int, *, width: int, hidden: int, levels: int, project: bool
    ) -> None:
        super().__init__()
        convolution = conv(spatial_dims)
        self.reduce = conv_norm(spatial_dims, width, hidden // 4, 1, bias=True)
        self.score = convolution(levels * (hidden // 4), levels, 1)
        self.project: nn.Module = nn.Identity()
        if project:
            self.project = nn.Sequential(
                batch_norm(spatial_dims)(width), nn.ReLU(), convolution(width, width, 1)
            )

    def weights(self, embeddings: Sequence[Tensor]) -> Tensor:
        """W: (B, L, *G), a softmax over the levels at every patch."""
        reduced = [functional.relu(self.reduce(e)) for e in embeddings]
        scores: Tensor = self.score(torch.cat(reduced, dim=1))
        return scores.softmax(dim=1)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        """L times (B, d, *G) -> (B, d, *G)."""
        stack = torch.stack(list(embeddings), dim=1)  # (B, L, d, *G)
        # sum e_n + sum w_n e_n
        mixed = (stack * (1 + self.weights(embeddings)[:, :, None])).sum(1)
        projected: Tensor = self.project(mixed)
        return projected


class Addition(nn.Module):
    """z^P = sum_n e_n."""

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(embeddings)).sum(0)


class Coarsest(nn.Module):
    """z^P = e_L, the row of the ablation before MEA: with the cascade it holds all levels.

    The paper does not say what stands there; with no cascade either it is the coarsest map alone.
    """

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        return embeddings[-1]


class Concatenation(nn.Module):
    """z^P = Conv1x1(cat_n e_n)."""

    def __init__(self, spatial_dims: int, *, width: int, levels: int) -> None:
        super().__init__()
        self.mix = conv(spatial_dims)(levels * width, width, 1)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        mixed: Tensor = self.mix(torch.cat(list(embeddings), dim=1))
        return mixed


class SelfAttention(nn.Module):
    """A class token attends to the levels at each patch; z^P is what it gathers.

    As in the released code: tokens of width h (1x1 convolution, batch normalisation, ReLU), layer
    normalisation, two heads, 1x1 convolution to d. Level codes are learned here, sinusoidal there.
    """

    def __init__(self, spatial_dims: int, *, width: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.tokens = conv_norm(spatial_dims, width, hidden, 1)
        self.codes = nn.Parameter(torch.empty(1 + levels, hidden))  # the class token first
        nn.init.trunc_normal_(self.codes, std=0.2)
        self.norm = nn.LayerNorm(hidden)
        self.attend = nn.MultiheadAttention(hidden, 2, batch_first=True)
        self.expand = conv(spatial_dims)(hidden, width, 1)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        maps = torch.stack([functional.relu(self.tokens(e)) for e in embeddings], dim=1)
        batch, levels, hidden, *grid = maps.shape
        rows = maps.flatten(3).permute(0, 3, 1, 2).reshape(-1, levels, hidden)
        rows = torch.cat([torch.zeros_like(rows[:, :1]), rows], dim=1) + self.codes
        rows = self.norm(rows)
        gathered, _ = self.attend(rows[:, :1], rows, rows, need_weights=False)
        out = gathered.view(batch, -1, hidden).transpose(1, 2).reshape(batch, hidden, *grid)
        expanded: Tensor = self.expand(out)
        return expanded


class SqueezeExcitation(nn.Module):
    """Channel gates in place of level gates: x = ReLU(BN(Conv(cat_n e_n))), ReLU(x + x * s(x)).

    The gate s is taken per patch, as in the released code (no spatial pooling), which also runs a
    full receptive-field block on x; that is left out here, as it is no part of the comparison.
    """

    def __init__(self, spatial_dims: int, *, width: int, hidden: int, levels: int) -> None:
        super().__init__()
        convolution = conv(spatial_dims)
        self.mix = conv_norm(spatial_dims, levels * width, hidden, 1)
        self.squeeze = convolution(hidden, hidden // 4, 1)
        self.excite = convolution(hidden // 4, hidden, 1)
        self.expand = convolution(hidden, width, 1)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        x = functional.relu(self.mix(torch.cat(list(embeddings), dim=1)))
        gate = self.excite(functional.relu(self.squeeze(x))).sigmoid()
        expanded: Tensor = self.expand(functional.relu(x + x * gate))
        return expanded
