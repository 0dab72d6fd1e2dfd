"""How often experts are left out, what their gate computes, and what the classifier is denied."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from MorseCore.backbones import Pyramid, PyramidSpec
from MorseCore.heads.parts.experts import StochasticExperts
from MorseCore.points import grid_coords
from networks import MORSE_ROWS, TINY_MORSE, make_image, make_network

ROWS = {"smoe": MORSE_ROWS["smoe"], "morse": TINY_MORSE}


@pytest.mark.parametrize("name", list(ROWS))
@pytest.mark.parametrize("rate", [0.2, 0.8])
def test_the_drop_rate_of_a_head_is_the_share_of_experts_that_it_leaves_out(name, rate):
    experts = make_network("unet", {**ROWS[name], "drop_rate": rate}, dims=2).head.experts
    maps = Pyramid((torch.zeros(5000, 1, 1, 1),), (1, 1))
    kept = experts.draw_mask(maps, generator=torch.Generator().manual_seed(0))
    assert kept.shape == (5000, 3)
    # Of three, alpha^3 of the rows would lose all, and keep one: a third more of that.
    expected = 1 - rate + rate**3 / 3
    assert kept.float().mean().item() == pytest.approx(expected, abs=0.02)


def in_words(mlp: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """An expert by its definition, on a map."""
    for layer in mlp.layers:
        x = functional.relu(functional.conv2d(x, layer.weight[..., None, None], layer.bias))
    return x


def group_norm(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Each group of channels of an image with mean 0 and variance 1."""
    parts = x.reshape(x.shape[0], groups, -1)
    mean, variance = parts.mean(2, keepdim=True), parts.var(2, correction=0, keepdim=True)
    return ((parts - mean) / (variance + 1e-5).sqrt()).view_as(x)


@pytest.mark.parametrize(("width", "groups"), [(16, 8), (12, 4), (6, 2)])
def test_the_gate_normalises_and_rectifies_all_convolutions_but_the_last(width, groups):
    torch.manual_seed(0)
    spec = PyramidSpec(2, (5, 4), (1, 1), 1)  # no map has to be brought to the gate's grid
    module = StochasticExperts(spec, experts=2, width=width, gate_depth=3, gate_stride=1)
    for name, parameter in module.gate.named_parameters():
        nn.init.normal_(parameter, std=0.3 if "weight" in name else 1.0)
    levels = torch.randn(2, 5, 6, 7), torch.randn(2, 4, 6, 7)
    x = torch.cat([in_words(e, m) for e, m in zip(module.experts, levels, strict=True)], dim=1)
    *hidden, last = (layer for layer in module.gate if isinstance(layer, nn.Conv2d))
    norms = [layer for layer in module.gate if isinstance(layer, nn.GroupNorm)]
    for convolution, norm in zip(hidden, norms, strict=True):
        x = group_norm(functional.conv2d(x, convolution.weight, padding=1), groups)
        x = functional.relu(x * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1))
    expected = functional.conv2d(x, last.weight, last.bias, padding=1)
    assert (expected < 0).any()
    with torch.no_grad():
        gate = module(Pyramid(levels, (6, 7)), None).gate
    assert torch.allclose(gate, expected, atol=1e-5)


def test_channels_of_x_out_are_dropped_and_the_rest_scaled_before_the_coarse_classifier():
    # The classifier repeats its input, so that the coarse answer shows what it was given.
    options = {**MORSE_ROWS["moe"], "width": 16, "dropout": 0.75}
    network = make_network("unet", options, dims=2, classes=16)
    image = make_image(2, batch=64)
    with torch.no_grad():
        network.head.classify.weight.copy_(torch.eye(16))
        network.head.classify.bias.zero_()
        network.head.experts.fuse.layers[-1].bias.fill_(3.0)  # so that hardly any channel is 0
        assert torch.equal(*of_the_classifier(network, image))
        network.head.train()
        given, features = of_the_classifier(network, image)
        field = network(image, generator=torch.Generator().manual_seed(0))
    seen = features.sum(1) > 0
    factors = given.sum(1)[seen] / features.sum(1)[seen]
    assert sorted(set(factors.round(decimals=3).tolist())) == [0.0, 4.0]  # 1 / (1 - 0.75)
    assert (factors > 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    kept = {tuple(row) for row in (given.sum(1) > 0).tolist()}
    assert len(kept) > 40  # each image has its own draw
    on_grid = field.coarse_grid(field.pixels()).flatten(2).transpose(1, 2)
    assert torch.allclose(on_grid, given, atol=1e-4)


def of_the_classifier(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The coarse answer at all pixels and x_out there, (B, P, W) each, of one draw."""
    field = network(image, generator=torch.Generator().manual_seed(0))
    coords = grid_coords(field.pixels()).expand(len(image), -1, -1)
    return field.coarse(coords), field.features(coords)
