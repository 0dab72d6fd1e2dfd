"""The I²Layer, a linear layer whose parameters depend on the point, and the losses on its parts.

``B`` batch, ``P`` points, ``K`` pattern learners, ``I`` inputs, ``O`` outputs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "I2Layer",
    "LayerRecord",
    "gate_shaping",
    "learner_gradients",
    "orthogonality",
]


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """What an :class:`I2Layer` was given and answered: all that its learners' gradients need."""

    inputs: Tensor
    """z, (B, P, I)."""
    gates: Tensor
    """g, (B, P, K)."""
    outputs: Tensor
    """(B, P, O), before normalisation and activation, part of the graph of the loss."""


class I2Layer(nn.Module):
    """Linear layer with W(p) = sum_k g_k(p) W_k and b(p) = sum_k g_k(p) b_k (I²Net, I²Layer).

    It is what the paper's Theta(p) = sum_k g_k(p) Theta^_k means for one layer; the K Theta^_k are
    the pattern learners, and [W^_k, b^_k] those of the layer.
    All K layers are applied and their answers mixed, sum_k g_k (W_k z + b_k): the same function,
    and no weight matrix a point has to be built. With one learner it is ``nn.Linear``.

    :param learners: K, number of pattern learners.
    """

    def __init__(self, inputs: int, outputs: int, *, learners: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(learners, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(learners, outputs))
        bound = 1 / math.sqrt(inputs)  # as nn.Linear, each learner on its own
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, z: Tensor, gates: Tensor | None) -> Tensor:
        """(B, P, I), gates (B, P, K) that sum to one (None for K = 1) -> (B, P, O)."""
        learners = list(zip(self.weight.unbind(), self.bias.unbind(), strict=True))
        if gates is None:
            return functional.linear(z, *learners[0])
        result: Tensor | None = None
        for k, (weight, bias) in enumerate(learners):
            answer = functional.linear(z, weight, bias)
            term = gates[..., k : k + 1].to(answer.dtype) * answer
            result = term if result is None else result + term
        assert result is not None
        return result


def gate_shaping(log_gates: Tensor, *, sharpen: float = 1.0, balance: float = 0.5) -> Tensor:
    """L_gs = L_gis + lambda_ges L_ges (I²Net, gate shaping): (B, P, K) log g -> scalar.

    With H the entropy and means over batch and points: L_gis = mean H(g) makes each point choose,
    L_ges = -H(mean g) keeps all learners in use. Taken on the logarithm that ``log_softmax`` gives:
    the released code takes log(g), which is -inf for a gate that underflows, and its product NaN.

    :param sharpen: weight of L_gis; 1, but 0 in an ablation.
    :param balance: lambda_ges.
    """
    log_gates = _wide(log_gates)
    points = log_gates.flatten(0, 1)  # (B * P, K)
    instance = -(points.exp() * points).sum(-1).mean()
    log_mean = points.logsumexp(0) - math.log(points.shape[0])
    expected = (log_mean.exp() * log_mean).sum()
    return sharpen * instance + balance * expected


def learner_gradients(
    loss: Tensor,
    records: Sequence[LayerRecord],
    *,
    biases: bool = True,
    second_order: bool = True,
) -> list[Tensor]:
    """Gradients of the loss by the learners of each layer: (K, O * I [+ O]) a layer.

    With delta_p = dL / d(output of the layer at p), dL/dW_k = sum_p g_k(p) delta_p z_p^T and
    dL/db_k = sum_p g_k(p) delta_p. So one backward pass to the outputs gives them all, where the
    released code differentiates by the weights of every layer anew. Both are the same to the last
    bits, and so are their gradients.

    :param biases: take b_k into the gradient (paper); weights alone are the released code's.
    :param second_order: let delta depend on the parameters when the result is differentiated; the
        gradient of L_lo is otherwise a first-order approximation, through g and z only.
    """
    outputs = [record.outputs for record in records]
    # Mixed precision has chosen the types in the forward pass; the backward pass follows them.
    with torch.autocast(loss.device.type, enabled=False):
        deltas = torch.autograd.grad(loss, outputs, create_graph=second_order, retain_graph=True)
        return [
            _by_learner(record, delta, biases=biases)
            for record, delta in zip(records, deltas, strict=True)
        ]


def _by_learner(record: LayerRecord, delta: Tensor, *, biases: bool) -> Tensor:
    inputs = _wide(record.inputs)
    if biases:  # b_k is the weight of an input that is always 1
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)
    gated = _wide(record.gates)[..., :, None] * _wide(delta)[..., None, :]  # (B, P, K, O)
    return torch.einsum("bpko,bpi->koi", gated, inputs).flatten(1)


def orthogonality(
    loss: Tensor,
    records: Sequence[LayerRecord],
    *,
    biases: bool = True,
    second_order: bool = True,
) -> Tensor:
    """L_lo = sum over layers of sum_{i<j} (n_i . n_j)^2 / (K (K - 1)) (I²Net, orthogonalisation).

    n_k is the direction of dL_seg / d(learner k), flattened: learners are asked to learn from
    different things. See :func:`learner_gradients` for the options.

    :param loss: L_seg, a scalar that the records' outputs have led to.
    :raises ValueError: without records, which layers keep only while gradients are computed.
    """
    if not records:
        raise ValueError("L_lo needs gradients; leave 'lo' out where none are computed.")
    # A direction does not depend on scale; as a sum over points the loss has gradients that do not
    # vanish in fp16.
    batch, points = records[0].outputs.shape[:2]
    total = torch.zeros((), device=loss.device)
    for gradient in learner_gradients(
        loss * (batch * points), records, biases=biases, second_order=second_order
    ):
        directions = functional.normalize(gradient, dim=1, eps=1e-8)
        cosines = directions @ directions.T  # (K, K)
        learners = cosines.shape[0]
        total = total + cosines.triu(1).square().sum() / (learners * (learners - 1))
    return total


def _wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
