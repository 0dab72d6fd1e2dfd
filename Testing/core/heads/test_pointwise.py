"""Pointwise networks: alike on points and on maps, and alive through many layers."""

import pytest
import torch

from MorseCore.heads.parts.pointwise import PointwiseLinear, PointwiseMLP


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_on_a_map_is_the_layer_at_each_pixel(batch: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, image = PointwiseLinear(5, 7, bias=bias), torch.randn(batch, 5, 4, 6, requires_grad=True)
    points = layer(image.flatten(2).transpose(1, 2))
    found = layer.on_map(image)
    assert torch.allclose(found.flatten(2).transpose(1, 2), points, atol=1e-5)
    wanted = torch.autograd.grad(points.square().sum(), [image, *layer.parameters()])
    gradients = torch.autograd.grad(found.square().sum(), [image, *layer.parameters()])
    for a, b in zip(gradients, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_at_the_start_features_keep_their_size_through_the_layers() -> None:
    torch.manual_seed(0)
    network = PointwiseMLP([64] * 7)
    features = torch.randn(1, 2000, 64)
    with torch.no_grad():
        size = network(features).square().mean() / features.square().mean()
    assert 0.3 < float(size) < 3  # torch's own start leaves a 50,000th
