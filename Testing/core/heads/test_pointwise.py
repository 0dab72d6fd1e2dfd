"""Pointwise networks: alike on points and on maps, and alive through many layers."""

import pytest
import torch

from MorseCore.heads.parts.pointwise import PointwiseLinear, PointwiseMLP, linear_of_parts


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_on_a_map_is_the_layer_at_each_pixel(batch: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, image = PointwiseLinear(5, 7, bias=bias), torch.randn(batch, 5, 4, 6, requires_grad=True)
    points = layer(image.flatten(2).transpose(1, 2))
    wanted = torch.autograd.grad(points.square().sum(), [image, *layer.parameters()])
    for found in (layer.on_map(image).flatten(2).transpose(1, 2), layer.on_pixels(image)):
        assert torch.allclose(found, points, atol=1e-5)
        gradients = torch.autograd.grad(found.square().sum(), [image, *layer.parameters()])
        for a, b in zip(gradients, wanted, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_layer_on_parts_is_the_layer_on_what_they_are_joined_to(bf16: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 4)
    parts = [torch.randn(2, 7, n, requires_grad=True) for n in (5, 1, 3)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        joined, found = layer(torch.cat(parts, dim=-1)), linear_of_parts(layer, parts)
    assert found.dtype == joined.dtype
    close = {"rtol": 2e-2, "atol": 2e-2} if bf16 else {"rtol": 1e-5, "atol": 1e-5}
    assert torch.allclose(found, joined, **close)
    inputs = [*parts, *layer.parameters()]
    wanted = torch.autograd.grad(joined.sum(), inputs)
    for a, b in zip(torch.autograd.grad(found.sum(), inputs), wanted, strict=True):
        assert torch.allclose(a, b, **close)


def test_at_the_start_features_keep_their_size_through_the_layers() -> None:
    torch.manual_seed(0)
    network = PointwiseMLP([64] * 7)
    features = torch.randn(1, 2000, 64)
    with torch.no_grad():
        size = network(features).square().mean() / features.square().mean()
    assert 0.3 < float(size) < 3  # torch's own start leaves a 50,000th
