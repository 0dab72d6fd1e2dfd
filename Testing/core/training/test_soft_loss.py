"""The loss of soft labels is what its formula says, and so is its hand-written gradient."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.losses import _PIECE, soft_region_loss

CLASSES = 5


def batch(*, images: int = 2, present: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(images, CLASSES, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(0, present, (images, 4, 3, 4, 2)).to(torch.uint8)


def by_formula(logits: Tensor, shares: Tensor, weighting: str) -> Tensor:
    q = functional.one_hot(shares.long(), CLASSES).double().mean(1).movedim(-1, 1)
    p = logits.softmax(1)
    counts = q.sum((0, 2, 3, 4))
    weights = torch.ones(CLASSES, dtype=torch.float64)
    if weighting == "inverse_sqrt":
        weights = torch.where(counts > 0, counts.clamp_min(1e-9).rsqrt(), 0.0)
    pixels = weights.view(1, -1, 1, 1, 1) * q
    entropy = -(pixels * p.log()).sum() / pixels.sum()
    dice = 1 - 2 * (p * q).sum((0, 2, 3, 4)) / (p.sum((0, 2, 3, 4)) + counts + 1e-3)
    present = counts > 0
    present[0] = False
    return (entropy + dice[present].mean()) / 2


@pytest.mark.parametrize("weighting", ["none", "inverse_sqrt"])
def test_the_loss_and_its_gradient_are_those_of_the_formula(weighting):
    logits, shares = batch()
    expected = by_formula(logits, shares, weighting)
    assert soft_region_loss(logits, shares, weighting=weighting).item() == pytest.approx(
        expected.item(), rel=1e-12
    )
    (gradient,) = torch.autograd.grad(expected, logits)
    (found,) = torch.autograd.grad(soft_region_loss(logits, shares, weighting=weighting), logits)
    assert torch.allclose(found, gradient, atol=1e-12)


def test_taking_pixels_in_pieces_changes_nothing(monkeypatch):
    logits, shares = batch()
    whole = soft_region_loss(logits, shares)
    (gradient,) = torch.autograd.grad(whole, logits)
    monkeypatch.setitem(_PIECE, "cpu", 5)
    parts = soft_region_loss(logits, shares)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-12)
    assert torch.allclose(torch.autograd.grad(parts, logits)[0], gradient, atol=1e-12)


def test_where_channels_lie_does_not_matter_and_the_gradient_lies_likewise():
    logits, shares = batch(images=1)
    last = logits.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    a, b = soft_region_loss(logits, shares), soft_region_loss(last, shares)
    assert a.item() == pytest.approx(b.item(), rel=1e-12)
    first, second = torch.autograd.grad(a, logits)[0], torch.autograd.grad(b, last)[0]
    assert torch.allclose(first, second, atol=1e-12)


def test_half_precision_comes_in_and_single_precision_comes_out():
    logits, shares = batch()
    low = logits.detach().bfloat16().requires_grad_()
    loss = soft_region_loss(low, shares)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(soft_region_loss(logits, shares).item(), rel=0.02)
    assert torch.autograd.grad(loss, low)[0].dtype == torch.bfloat16


def test_an_image_of_background_alone_has_a_finite_loss():
    logits, shares = batch()
    loss = soft_region_loss(logits, torch.zeros_like(shares), weighting="inverse_sqrt")
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_a_rare_class_counts_more_when_classes_are_weighted():
    logits = torch.zeros(1, 2, 10, 10, 10, dtype=torch.float64, requires_grad=True)
    shares = torch.zeros(1, 1, 10, 10, 10, dtype=torch.uint8)
    shares[..., 0, 0, 0] = 1
    pull = []
    for weighting in ("none", "inverse_sqrt"):
        loss = soft_region_loss(logits, shares, weighting=weighting)
        pull.append(-float(torch.autograd.grad(loss, logits)[0][0, 1, 0, 0, 0]))
    assert pull[1] > 3 * pull[0] > 0
