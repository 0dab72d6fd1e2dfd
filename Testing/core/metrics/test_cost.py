"""Parameters and operations are counted, and called what they are."""

import torch
from torch import nn

from MorseCore.config import decode
from MorseCore.heads.parts.pointwise import linear_of_parts
from MorseCore.metrics.cost import measure_cost
from MorseCore.network import NetworkConfig


def test_a_convolution_costs_what_one_counts_by_hand() -> None:
    network = nn.Conv2d(1, 4, 3, padding=1)
    cost = measure_cost(network, network, size=(8, 10))
    assert cost.parameters == 4 * 9 + 4
    assert cost.macs == 4 * 9 * 8 * 10


def test_a_layer_on_parts_costs_what_it_does_on_what_they_are_joined_to() -> None:
    layer, size = nn.Linear(8, 4), (5, 2)

    def run(image: torch.Tensor) -> torch.Tensor:
        points = image.flatten(1)[..., None].expand(-1, -1, 8)  # (1, 10, 8)
        return linear_of_parts(layer, points.split([5, 2, 1], dim=-1))

    assert measure_cost(layer, run, size=size).macs == 10 * 8 * 4


def test_a_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    before = network[1].running_mean.clone()
    measure_cost(network, network, size=(4, 4))
    assert network.training
    assert torch.equal(network[1].running_mean, before)


def test_morses_unet_costs_what_the_notes_say() -> None:
    data = {"spatial_dims": 2, "backbone": {"name": "unet"}, "head": {"name": "plain"}}
    network = decode(NetworkConfig, data, "").build(num_classes=9)
    cost = measure_cost(
        network, lambda image: (f := network(image)).coarse_grid(f.pixels()), size=(256, 256)
    )
    # 1.81 M parameters and 5.99 GFLOP; ours classifies by a 1x1 instead of a 3x3 convolution.
    assert abs(cost.parameters / 1e6 - 1.81) < 0.01
    assert 5.7 < 2 * cost.macs / 1e9 < 6.0
