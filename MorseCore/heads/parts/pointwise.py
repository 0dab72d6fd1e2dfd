"""Pointwise networks that act alike on points (B, P, C) and on maps (B, C, *S)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PointNorm", "PointwiseLinear", "PointwiseMLP", "linear_of_parts"]


class PointwiseLinear(nn.Linear):
    """A linear layer for points that can also be applied to every pixel of a map."""

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C', *S), the same as a 1x1 convolution with these weights.

        One matrix product an image: torch's 1x1x1 ``conv3d`` has no fast path on CPUs, and
        ``matmul`` with one matrix for a batch copies the transposed maps, which took three times
        as long. A map whose channels lie last is a list of points as it is.
        """
        if x.stride(1) == 1 and x.shape[1] > 1:
            return self(x.movedim(1, -1)).movedim(-1, 1)
        maps = x.flatten(2)
        weight = self.weight.expand(len(x), -1, -1)
        if self.bias is None:
            y = torch.bmm(weight, maps)
        else:
            y = torch.baddbmm(self.bias.view(1, -1, 1), weight, maps)
        return y.view(x.shape[0], self.out_features, *x.shape[2:])

    def on_pixels(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, N, C'), the same as rows, one a pixel.

        The product reads the map turned; turning it beforehand would copy it.
        """
        rows = x.flatten(2).transpose(1, 2)
        weight = self.weight.T.expand(len(x), -1, -1)
        return (
            torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias, rows, weight)
        )


class PointwiseMLP(nn.Module):
    """Linear layers with ReLU after each, the last one too (MORSE's experts and fuse MLP).

    Weights start as He et al.'s (2015), for which the variance stays what it is through ReLUs. The
    paper does not say; torch's own start divides it by about six a layer, so that after experts and
    fuse MLP hardly anything is left: after 120 iterations MoE found no organ at all (DSC 0), with
    He's it had 0.65 where the UNet had 0.52 (abdominal MR, ``morse-table1 --quick``).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers = [PointwiseLinear(a, b) for a, b in pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, C) -> (B, P, C')."""
        for layer in self.layers:
            x = functional.relu(layer(x), inplace=True)
        return x

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C', *S)."""
        for layer in self.layers:
            assert isinstance(layer, PointwiseLinear)
            x = functional.relu(layer.on_map(x), inplace=True)
        return x

    def on_pixels(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, N, C'), one row a pixel."""
        first, *others = self.layers
        assert isinstance(first, PointwiseLinear)
        x = functional.relu(first.on_pixels(x), inplace=True)
        for layer in others:
            x = functional.relu(layer(x), inplace=True)
        return x


class PointNorm(nn.BatchNorm1d):
    """Batch normalisation over all points of all images."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, C) -> (B, P, C)."""
        return super().forward(x.flatten(0, -2)).view_as(x)


def linear_of_parts(layer: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """The layer on features that lie in parts (B, P, C_i): what it says of them joined.

    Each part is multiplied by its own columns of the weights and added to the others' sum in place:
    joining 8192 points for the rendering head's four layers took as long as half of its products.
    """
    assert isinstance(layer, nn.Linear)
    first, *others = parts
    weights = layer.weight.split([part.shape[-1] for part in parts], dim=1)
    total = functional.linear(first.flatten(0, 1), weights[0], layer.bias)
    for part, weight in zip(others, weights[1:], strict=True):
        # Autocast leaves what is done in place alone.
        total.addmm_(part.flatten(0, 1).to(total.dtype), weight.T.to(total.dtype))
    return total.view(*first.shape[:2], -1)
