"""The last step of training touches the rendering head and nothing else."""

import math

import numpy as np
import torch
from torch import nn

from MorseCore.samplers import UncertainConfig
from MorseCore.training.finishing import finish_rendering
from MorseCore.training.phantoms import make_phantom
from MorseCore.training.samples import Minibatch
from networks import make_network


def batches(count: int):
    for n in range(count):
        images, labels = zip(
            *(make_phantom(2 * n + k, shape=(16, 24)) for k in range(2)), strict=True
        )
        image = torch.from_numpy(np.stack(images))[:, None]
        place = torch.eye(2, 3).expand(2, -1, -1)
        yield Minibatch(
            image, torch.from_numpy(np.stack(labels)).long(), place, torch.empty(2, 0, 2)
        )


def finish(network, steps: int, *, clip: float = 12.0) -> float:
    return finish_rendering(
        network, batches(steps), sampler=UncertainConfig(points=64).build(), steps=steps,
        learning_rate=0.01, clip=clip, seed=3,
    )  # fmt: skip


def test_only_the_rendering_head_changes():
    network = make_network("unet", dims=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    finish(network, 3)
    changed = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert changed
    assert all(name.startswith("head.render.") for name in changed)
    assert "head.render.encoding.frequencies" in changed


def test_the_coarse_answer_stays_as_it_was():
    network = make_network("unet", dims=2)
    image, coords = next(batches(1))[0], torch.rand(2, 30, 2) * 2 - 1
    before = network(image).coarse(coords)
    rendered = network(image).logits(coords)
    finish(network, 3)
    assert torch.equal(network(image).coarse(coords), before)
    assert not torch.equal(network(image).logits(coords), rendered)


def test_the_rendering_loss_falls():
    network = make_network("unet", dims=2)
    assert finish(network, 60) < 0.8 * finish(make_network("unet", dims=2), 1)


def test_two_runs_give_the_same_head():
    weights = []
    for _ in range(2):
        network = make_network("unet", dims=2)
        finish(network, 3)
        weights.append(network.head.render.predict.weight)
    assert torch.equal(*weights)


def test_afterwards_every_parameter_can_be_trained_again():
    network = make_network("unet", dims=2)
    finish(network, 1)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_head_that_renders_nothing_has_nothing_to_finish():
    assert math.isnan(finish(make_network("unet", "plain", dims=2), 2))


def test_the_gradient_is_clipped_at_the_configured_norm(monkeypatch):
    norms = []
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda parameters, norm: norms.append(norm))
    finish(make_network("unet", dims=2), 2, clip=0.5)
    assert norms == [0.5, 0.5]
