"""The stochastic mixture of experts: routing, gates, and what the mixture is made of."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from MorseCore.heads import HEADS
from MorseCore.heads.parts.experts import ExpertFeatures, draw_expert_mask, mix_weights
from MorseCore.points import grid_coords, pick_coords
from networks import TINY_MORSE, make_image, make_network


@pytest.mark.parametrize("mask", list(itertools.product([True, False], repeat=3))[:-1])
def test_the_weights_sum_to_one_under_every_expert_mask(mask):
    gate = torch.randn(1, 3, 4, 5)
    weights = mix_weights(gate, torch.tensor([mask]), routing="renorm", dim=1)
    assert torch.allclose(weights.sum(1), torch.ones(1, 4, 5), atol=1e-6)
    assert torch.equal(weights.flatten(2).sum((0, 2)) > 0, torch.tensor(mask))


def test_released_routing_leaves_survivors_with_the_weight_they_had_among_all():
    gate, mask = torch.zeros(1, 2, 1), torch.tensor([[True, False]])
    assert mix_weights(gate, mask, routing="released", dim=1).flatten().tolist() == [0.5, 0.0]
    assert mix_weights(gate, mask, routing="renorm", dim=1).flatten().tolist() == [1.0, 0.0]


def test_experts_are_left_out_with_the_given_probability_and_never_all():
    generator = torch.Generator().manual_seed(0)
    mask = draw_expert_mask(20000, 5, drop_rate=0.7, routing="renorm", generator=generator)
    kept = mask.sum(1).float()
    assert kept.min() == 1
    # Binomial(5, 0.3), with the 0.168 that would lose all keeping one: 1.5 + 0.168.
    assert kept.mean().item() == pytest.approx(1.668, abs=0.02)
    alone = mask[kept == 1].float().mean(0)
    assert torch.allclose(alone, torch.full((5,), 0.2), atol=0.02)


def test_each_sample_of_a_batch_has_its_own_draw():
    generator = torch.Generator().manual_seed(0)
    mask = draw_expert_mask(64, 3, drop_rate=0.5, routing="renorm", generator=generator)
    assert len({tuple(row) for row in mask.tolist()}) > 3


def test_released_routing_drops_the_same_experts_for_the_whole_batch():
    counts = set()
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        mask = draw_expert_mask(3, 4, drop_rate=0.7, routing="released", generator=generator)
        assert (mask == mask[0]).all()
        counts.add(int(mask[0].sum()))
    assert counts == {1, 2, 3, 4}


def test_at_inference_all_experts_take_part_and_nothing_is_random():
    network, image = make_network(), make_image(3)
    first, second = (network(image).logits(torch.zeros(2, 1, 3)) for _ in range(2))
    assert torch.equal(first, second)
    weights = network(image).features.weights(torch.zeros(2, 1, 3))
    assert (weights > 0).all()
    assert torch.allclose(weights.sum(-1), torch.ones(2, 1), atol=1e-6)


def test_in_training_a_dropped_expert_has_no_weight_and_is_not_seen_by_the_gate():
    # Two survivors: a single one has the weight 1, whatever the gate was shown.
    network, image = make_network("unet"), make_image(3, batch=1)
    pyramid = network.backbone(image)
    mask = torch.tensor([[True, False, True]])
    before = network.head.experts(pyramid, mask)
    with torch.no_grad():  # whatever the dropped expert says, the answer must stay
        for parameter in network.head.experts.experts[1].parameters():
            parameter.add_(1.0)
    after = network.head.experts(pyramid, mask)
    coords = torch.rand(1, 20, 3) * 2 - 1
    assert (after.weights(coords)[..., 1] == 0).all()
    assert torch.equal(before.weights(coords), after.weights(coords))
    assert torch.equal(before(coords), after(coords))
    assert not torch.equal(network.head.experts(pyramid, None)(coords), after(coords))


def test_a_new_gate_gives_every_expert_the_same_weight():
    torch.manual_seed(0)
    network = make_network("unet", TINY_MORSE, dims=2)
    fresh = HEADS.decode(TINY_MORSE, "head").build(network.backbone.spec, num_classes=3).eval()
    field = fresh.prepare(network.backbone(make_image(2)))
    assert torch.allclose(
        field.features.weights(torch.zeros(2, 1, 2)), torch.full((2, 1, 3), 1 / 3)
    )


@pytest.mark.parametrize(("dims", "stride"), [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_the_mixture_is_the_weighted_sum_of_expert_outputs_sampled_at_the_point(dims, stride):
    # x_out by its definition, written out: up-sample each expert's map, weigh, add, fuse.
    network, image = make_network("unet", dims=dims), make_image(dims)
    module, pyramid = network.head.experts, network.backbone(image)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    features = module(pyramid, mask)
    axes = [axis[stride // 2 :: stride] for axis in network(image).pixels()]
    mode = "bilinear" if dims == 2 else "trilinear"

    def everywhere(values):
        whole = functional.interpolate(values, size=pyramid.size, mode=mode, align_corners=False)
        return whole[(..., *[slice(stride // 2, None, stride)] * dims)]

    gate = everywhere(features.gate).masked_fill(~mask.view(2, 3, *[1] * dims), float("-inf"))
    weights = gate.softmax(1)
    mixed = sum(
        weights[:, n : n + 1] * everywhere(expert.on_map(level))
        for n, (expert, level) in enumerate(zip(module.experts, pyramid.levels, strict=True))
    )
    expected = module.fuse(mixed.flatten(2).transpose(1, 2))
    on_grid = features.on_grid(axes).flatten(2).transpose(1, 2)
    at_points = features(grid_coords(axes).expand(2, -1, -1))
    wanted = gradients(expected, network)
    for found in (on_grid, at_points):
        assert torch.allclose(found, expected, atol=1e-5)
        for one, other in zip(gradients(found, network), wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def gradients(found, network):
    parameters = [*network.backbone.parameters(), *network.head.experts.parameters()]
    return torch.autograd.grad(
        found.square().sum(), parameters, retain_graph=True, materialize_grads=True
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_pixels_are_read_from_the_finest_map_as_points_are_sampled_from_its_rows(dims, monkeypatch):
    network, image = make_network(dims=dims), make_image(dims)
    index = torch.randperm(math.prod(network(image).size))[:40].expand(2, -1)
    pixels = pick_coords(network(image).pixels(), index)

    def ask(coords):  # features, the backbone's gradient, and of which finest maps rows were made
        network.zero_grad()
        features = network(image).features
        found = features(coords)
        found.square().sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in network.backbone.parameters()])
        finest = len(network.backbone.spec.channels) - 1
        return found.detach(), gradient, finest in features._rows

    *read, copied = ask(pixels)
    assert not copied
    assert ask(pixels + 0.02)[2]  # between pixels it must be interpolated
    monkeypatch.setattr(ExpertFeatures, "_pixels", lambda self, coords: None)
    *sampled, copied = ask(pixels)
    assert copied
    for one, other in zip(read, sampled, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_coarse_logits_of_morse_come_from_the_mixture():
    # In the released 2D code they are the backbone's own, and the mixture has no effect on them.
    network, image = make_network(), make_image(3)
    before = network(image).coarse(torch.zeros(2, 1, 3))
    with torch.no_grad():
        network.head.experts.fuse.layers[0].weight.mul_(-1)
    assert not torch.allclose(before, network(image).coarse(torch.zeros(2, 1, 3)))
