"""Losses, their weights over time, and what they are taken on."""

import pytest
import torch

from MorseCore.errors import ConfigError
from MorseCore.losses import (
    Targets,
    point_cross_entropy,
    point_region_loss,
    region_loss,
    render_weight,
)
from MorseCore.samplers import UncertainConfig
from networks import Disc, make_image, make_network


def test_the_adaptive_weight_is_equation_4():
    weights = [render_weight("awa", t, steps=100) for t in (0, 50, 51, 75, 100)]
    assert weights == pytest.approx([0.0, 0.0, 0.001, 0.025, 0.05])


def test_the_other_rows_of_table_4_are_constant():
    half = [render_weight("constant_from_half", t, steps=100) for t in (50, 51, 99)]
    assert half == [0.0, 0.1, 0.1]
    assert render_weight("from_scratch", 0, steps=100, peak=0.3) == 0.3


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ConfigError, match="awa, constant_from_half, from_scratch"):
        render_weight("linear", 0, steps=10)


def test_the_region_loss_is_half_cross_entropy_and_half_dice_over_all_classes():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]).transpose(1, 2)[..., None]  # (1, 2, 2, 1)
    labels = torch.tensor([[[0], [0]]])
    p = logits.softmax(1).flatten(2)[0]  # (class, pixel)
    g = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    dice = 1 - (2 * (p * g).sum(1) + 1e-5) / ((p**2).sum(1) + (g**2).sum(1) + 1e-5)
    expected = 0.5 * -p[0].log().mean() + 0.5 * dice.mean()
    assert region_loss(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_point_loss_is_the_mean_cross_entropy():
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    assert point_cross_entropy(logits, torch.tensor([[0, 1]])).item() == pytest.approx(
        0.6931, abs=1e-4
    )


def test_while_its_weight_is_zero_the_rendering_branch_is_not_computed():
    network = make_network().train()
    image, sampler = make_image(3), UncertainConfig(points=16).build()
    labels = torch.zeros(2, 8, 16, 24, dtype=torch.long)
    losses = network.head.losses(network(image), Targets(labels), sampler=sampler, active=("sup",))
    assert set(losses) == {"sup"}
    losses["sup"].backward()
    assert all(p.grad is None for p in network.head.render.parameters())


def test_the_rendering_loss_also_trains_the_backbone_and_the_coarse_logits():
    network = make_network().train()
    labels = torch.randint(0, 3, (2, 8, 16, 24))
    sampler = UncertainConfig(points=16).build()
    losses = network.head.losses(
        network(make_image(3)), Targets(labels), sampler=sampler, active=("sup", "rend")
    )
    losses["rend"].backward()
    assert network.head.classify.weight.grad.abs().sum() > 0
    assert network.backbone.encoders[0][1].weight.grad.abs().sum() > 0


def test_a_strided_supervision_takes_labels_and_logits_at_the_same_pixels():
    field, head = Disc(), make_network(head="plain").head
    labels = field.coarse_grid(field.pixels()).max(1).indices

    def loss(labels, seed):
        generator = torch.Generator().manual_seed(seed)
        sampler = UncertainConfig(points=16).build()
        losses = head.losses(
            field, Targets(labels), sampler=sampler, active=("sup",), stride=2, generator=generator
        )
        return losses["sup"].item()

    for seed in range(4):
        assert loss(labels, seed) < 0.5 * loss(labels.roll(3, dims=-1), seed)
    assert len({loss(labels, seed) for seed in range(8)}) > 1  # another phase, other pixels


def test_the_region_loss_of_points_is_that_of_a_row_of_pixels():
    logits, labels = torch.randn(1, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 1]])
    row = region_loss(logits.transpose(1, 2)[:, :, None], labels[:, None])
    assert point_region_loss(logits, labels).item() == pytest.approx(row.item(), rel=1e-5)
