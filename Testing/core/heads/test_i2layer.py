"""The I²Layer, gate shaping, and learner orthogonalisation against their definitions."""

import math

import pytest
import torch
from torch.nn import functional

from MorseCore.heads.i2net.decoder import I2Decoder
from MorseCore.heads.i2net.layer import (
    I2Layer,
    LayerRecord,
    gate_shaping,
    learner_gradients,
    orthogonality,
)


def make_decoder(learners: int = 3) -> I2Decoder:
    torch.manual_seed(0)
    return I2Decoder(5, (6, 4, 3), gate_widths=(7,), learners=learners).double().train()


def segment(decoder: I2Decoder, codes: torch.Tensor, power: float = 1.0):
    """A segmentation loss of the decoder's answers, and how they came about."""
    decoded = decoder(codes)
    labels = torch.arange(codes.shape[1]).remainder(3).expand(codes.shape[0], -1)
    loss = functional.cross_entropy(decoded.values.flatten(0, 1), labels.flatten())
    return power * loss, decoded


def lo_by_autograd(loss, decoder, *, biases: bool) -> torch.Tensor:
    """L_lo by its definition: differentiate by the parameters of every learner."""
    total = torch.zeros((), dtype=torch.float64)
    for layer in decoder.layers:
        sources = [layer.weight, layer.bias] if biases else [layer.weight]
        gradients = torch.autograd.grad(loss, sources, create_graph=True)
        rows = torch.cat([g.flatten(1) for g in gradients], dim=1)
        rows = rows / rows.norm(dim=1, keepdim=True)
        learners = len(rows)
        for i in range(learners):
            for j in range(i):
                total = total + (rows[i] @ rows[j]) ** 2 / (learners * (learners - 1))
    return total


def gradients_of(loss, decoder, codes) -> list[torch.Tensor]:
    sources = [codes, *decoder.parameters()]
    found = torch.autograd.grad(loss, sources, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]


def test_the_mixture_of_answers_is_the_layer_with_mixed_parameters():
    layer = I2Layer(5, 4, learners=3).double()
    z = torch.randn(2, 7, 5, dtype=torch.float64)
    gates = torch.randn(2, 7, 3, dtype=torch.float64).softmax(-1)
    weight = torch.einsum("bpk,koi->bpoi", gates, layer.weight)
    bias = torch.einsum("bpk,ko->bpo", gates, layer.bias)
    expected = torch.einsum("bpoi,bpi->bpo", weight, z) + bias
    assert torch.allclose(layer(z, gates), expected, atol=1e-13)


def test_a_layer_with_one_learner_is_a_linear_layer():
    layer, z = I2Layer(5, 4, learners=1), torch.randn(2, 7, 5)
    assert torch.equal(layer(z, None), functional.linear(z, layer.weight[0], layer.bias[0]))


def test_learners_begin_different_and_as_linear_layers_do():
    layer = I2Layer(100, 50, learners=2)
    assert layer.weight.abs().max() <= 0.1
    assert layer.weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert not torch.allclose(layer.weight[0], layer.weight[1])


@pytest.mark.parametrize(
    ("gates", "sharp", "balanced"),
    [
        ([[1, 0], [1, 0]], 0.0, 0.0),  # sure, and one learner idle
        ([[1, 0], [0, 1]], 0.0, -math.log(2)),  # sure, and both in use: the best
        ([[0.5, 0.5], [0.5, 0.5]], math.log(2), -math.log(2)),  # undecided
    ],
)
def test_gate_shaping_asks_each_point_to_choose_and_all_points_to_differ(gates, sharp, balanced):
    log_gates = torch.tensor([gates], dtype=torch.float64).clamp_min(1e-30).log()
    only_sharp = gate_shaping(log_gates, balance=0.0)
    only_balance = gate_shaping(log_gates, sharpen=0.0, balance=1.0)
    assert only_sharp.item() == pytest.approx(sharp, abs=1e-9)
    assert only_balance.item() == pytest.approx(balanced, abs=1e-9)
    assert gate_shaping(log_gates).item() == pytest.approx(sharp + 0.5 * balanced, abs=1e-9)


def test_gate_shaping_is_finite_where_a_gate_underflows():
    logits = torch.tensor([[[2e4, -2e4, 0.0]]], requires_grad=True)
    loss = gate_shaping(logits.log_softmax(-1))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("biases", [True, False])
def test_the_closed_form_of_l_lo_is_that_of_autograd_with_its_gradients(biases):
    # Fails if delta is taken after the normalisation, if a gate is left out of the sum, and, in
    # the gradients, if delta is detached.
    decoder = make_decoder()
    codes = torch.randn(2, 9, 5, dtype=torch.float64, requires_grad=True)
    loss, decoded = segment(decoder, codes)
    closed = orthogonality(loss, decoded.records, biases=biases)
    expected = lo_by_autograd(loss, decoder, biases=biases)
    assert closed.item() == pytest.approx(expected.item(), rel=1e-9)
    assert closed > 0
    for mine, theirs in zip(
        gradients_of(closed, decoder, codes), gradients_of(expected, decoder, codes), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-11)


def test_the_closed_form_gives_each_learners_own_gradient():
    decoder = make_decoder()
    codes = torch.randn(2, 9, 5, dtype=torch.float64)
    loss, decoded = segment(decoder, codes)
    closed = learner_gradients(loss, decoded.records)
    for layer, gradient in zip(decoder.layers, closed, strict=True):
        weight, bias = torch.autograd.grad(loss, [layer.weight, layer.bias], retain_graph=True)
        expected = torch.cat([weight, bias[..., None]], dim=-1).flatten(1)  # a bias after its row
        assert torch.allclose(gradient, expected, atol=1e-13)


def test_the_first_order_form_has_the_same_value_and_another_gradient():
    decoder = make_decoder()
    codes = torch.randn(2, 9, 5, dtype=torch.float64, requires_grad=True)
    loss, decoded = segment(decoder, codes)
    full = orthogonality(loss, decoded.records)
    short = orthogonality(loss, decoded.records, second_order=False)
    assert full.item() == pytest.approx(short.item(), rel=1e-12)
    last = decoder.layers[-1].weight  # it acts on L_lo through delta alone
    (gradient,) = torch.autograd.grad(full, last, retain_graph=True)
    assert gradient.abs().max() > 1e-6
    assert torch.autograd.grad(short, last, allow_unused=True) == (None,)


def record_of(gates: list[list[float]], inputs: list[list[float]]):
    """One layer of one output that the loss sums up, so that delta is 1 at every point."""
    outputs = torch.zeros(1, len(gates), 1, requires_grad=True)
    return outputs.sum(), LayerRecord(torch.tensor([inputs]), torch.tensor([gates]), outputs)


def test_learners_that_see_the_same_are_parallel_and_those_that_see_other_points_are_not():
    same = [[1 / 3, 1 / 3, 1 / 3]] * 2
    loss, record = record_of(same, [[1.0, 0.0], [0.0, 1.0]])
    # All three pairs have cosine 1: 3 / (3 * 2).
    assert orthogonality(loss, [record], biases=False).item() == pytest.approx(0.5)
    assert orthogonality(loss, [record, record], biases=False).item() == pytest.approx(1.0)
    loss, record = record_of([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    assert orthogonality(loss, [record], biases=False).item() == pytest.approx(0.0)
    # With the bias both see the input 1 beside their own: cosine 1/2, and (1/2)^2 / (2 * 1).
    assert orthogonality(loss, [record], biases=True).item() == pytest.approx(0.125)


def test_l_lo_does_not_depend_on_the_scale_of_the_loss():
    decoder = make_decoder()
    codes = torch.randn(2, 9, 5, dtype=torch.float64)
    small = orthogonality(*_loss_and_records(decoder, codes, 1e-4))
    large = orthogonality(*_loss_and_records(decoder, codes, 1e4))
    assert small.item() == pytest.approx(large.item(), rel=1e-6)


def _loss_and_records(decoder, codes, power):
    loss, decoded = segment(decoder, codes, power)
    return loss, decoded.records


@pytest.mark.parametrize("second_order", [True, False])
def test_training_on_l_lo_alone_turns_the_learners_apart(second_order):
    decoder = make_decoder()
    codes = torch.randn(2, 30, 5, dtype=torch.float64)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    values = []
    for _ in range(25):
        loss, decoded = segment(decoder, codes)
        value = orthogonality(loss, decoded.records, second_order=second_order)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


def test_mixed_precision_gives_nearly_the_same():
    decoder = make_decoder().float()
    codes = torch.randn(2, 50, 5)
    exact = orthogonality(*_loss_and_records(decoder, codes, 1.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, decoded = segment(decoder, codes)
        rough = orthogonality(loss, decoded.records)
    assert decoded.records[0].outputs.dtype == torch.bfloat16
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.1)
    rough.backward()
    assert all(torch.isfinite(p.grad).all() for p in decoder.parameters())


def test_one_gate_serves_all_layers():
    decoder, calls = make_decoder(), []
    decoder.gate.register_forward_hook(lambda *_: calls.append(1))
    decoded = decoder(torch.randn(2, 9, 5, dtype=torch.float64))
    assert len(calls) == 1
    assert all(record.gates is decoded.records[0].gates for record in decoded.records)
    assert torch.allclose(decoded.log_gates.exp(), decoded.records[0].gates)


def test_the_gate_depends_on_the_point():
    decoded = make_decoder()(torch.randn(1, 9, 5, dtype=torch.float64))
    assert decoded.log_gates[0].std(0).min() > 0.01
    assert torch.allclose(decoded.log_gates.exp().sum(-1), torch.ones(1, 9, dtype=torch.float64))


def test_without_gradients_l_lo_says_that_it_needs_them():
    with torch.no_grad():
        loss, decoded = segment(make_decoder(), torch.randn(1, 9, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="needs gradients"):
        orthogonality(loss, decoded.records)


def test_the_last_layer_is_linear_and_the_others_are_normalised_and_rectified():
    decoded = make_decoder()(torch.randn(2, 30, 5, dtype=torch.float64))
    first, second, last = decoded.records
    assert torch.equal(decoded.values, last.outputs)
    assert decoded.values.min() < 0
    for before, after in ((first, second), (second, last)):
        flat = before.outputs.flatten(0, 1)
        normal = (flat - flat.mean(0)) / (flat.var(0, unbiased=False) + 1e-5).sqrt()
        assert torch.allclose(after.inputs.flatten(0, 1), normal.relu(), atol=1e-6)


def test_a_gate_that_underflows_has_a_finite_logarithm():
    decoder = make_decoder()
    with torch.no_grad():
        decoder.gate.predict.bias.copy_(torch.tensor([0.0, 5000.0, -5000.0]))
    log_gates = decoder(torch.randn(2, 9, 5, dtype=torch.float64)).log_gates
    assert log_gates.exp().min() == 0
    assert torch.isfinite(gate_shaping(log_gates))
