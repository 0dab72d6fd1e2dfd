"""Parts of the heads against their definitions, written out once more with the parts' weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from MorseCore.backbones import Pyramid, PyramidSpec
from MorseCore.heads.parts.latents import LevelProjection
from MorseCore.heads.parts.rendering_head import RenderingHead
from MorseCore.heads.swipe.head import SwipeConfig
from MorseCore.heads.swipe.neck import Neck
from MorseCore.heads.swipe.rfb import RFBLite
from networks import MORSE_ROWS, TINY_MORSE, make_network

SPEC = PyramidSpec(2, (5, 4, 3), (16, 8, 4), 16)
SIZE = (32, 48)
RENDERING = {"morse": TINY_MORSE, "iar": MORSE_ROWS["iar"], "iar+moe": MORSE_ROWS["iar+moe"]}
Convolution = (nn.Conv2d, nn.Conv3d)


def shake(module: nn.Module) -> nn.Module:
    """In evaluation mode, with norms and biases of their own, so that an exchanged one shows."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                layer.running_mean.normal_(std=0.3, generator=generator)
                layer.running_var.uniform_(0.5, 2.0, generator=generator)
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 or "bias" in name:
                parameter.normal_(std=0.5, generator=generator)
    return module.eval()


def convolved(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution that keeps the size, from its weights and its dilation alone."""
    sides = layer.weight.shape[2:]
    padding = [d * (n // 2) for d, n in zip(layer.dilation, sides, strict=True)]
    function = functional.conv2d if x.ndim == 4 else functional.conv3d
    return function(x, layer.weight, layer.bias, padding=padding, dilation=layer.dilation)


def normalised(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Batch normalisation at inference."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    return x * scale.view(shape) + shift.view(shape)


def conv_norms(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """All convolutions of a module one after the other, a normalisation after each, no ReLU."""
    layers = list(module.modules())
    convolutions = [layer for layer in layers if isinstance(layer, Convolution)]
    norms = [layer for layer in layers if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d))]
    for convolution, norm in zip(convolutions, norms, strict=True):
        x = normalised(norm, convolved(convolution, x))
    return x


# --- SwIPE's neck


def make_neck(mea: str) -> Neck:
    torch.manual_seed(0)
    config = SwipeConfig(mea=mea, hidden=8, embedding=6, patch_stride=16)
    neck = config.build(SPEC, num_classes=2).neck
    shake(neck)
    return neck


def make_pyramid() -> Pyramid:
    generator = torch.Generator().manual_seed(3)
    levels = tuple(
        torch.randn(2, c, *(n // s for n in SIZE), generator=generator)
        for c, s in zip(SPEC.channels, SPEC.strides, strict=True)
    )
    return Pyramid(levels, SIZE)


def by_sum(fuse: nn.Module, embeddings: list[torch.Tensor]) -> torch.Tensor:
    return embeddings[0] + embeddings[1] + embeddings[2]


def by_concatenation(fuse: nn.Module, embeddings: list[torch.Tensor]) -> torch.Tensor:
    """A 1x1 convolution of the concatenation is a sum of one matrix a level."""
    parts = fuse.mix.weight[..., 0, 0].split(6, dim=1)
    result = fuse.mix.bias.view(1, -1, 1, 1)
    for matrix, e in zip(parts, embeddings, strict=True):
        result = result + torch.einsum("oi,bijk->bojk", matrix, e)
    return result


def by_squeeze_and_excitation(fuse: nn.Module, embeddings: list[torch.Tensor]) -> torch.Tensor:
    x = conv_norms(fuse.mix, torch.cat(embeddings, dim=1)).clamp(min=0)
    gate = 1 / (1 + (-convolved(fuse.excite, convolved(fuse.squeeze, x).clamp(min=0))).exp())
    return convolved(fuse.expand, (x + x * gate).clamp(min=0))


def by_self_attention(fuse: nn.Module, embeddings: list[torch.Tensor]) -> torch.Tensor:
    """Two heads of width 4: the class token asks, it and the three levels answer."""
    maps = [conv_norms(fuse.tokens, e).clamp(min=0) for e in embeddings]
    tokens = torch.stack([torch.zeros_like(maps[0]), *maps], dim=1).movedim(2, -1)
    tokens = tokens + fuse.codes[:, None, None]  # (B, 1 + L, *G, h)
    tokens = tokens - tokens.mean(-1, keepdim=True)
    tokens = tokens / (tokens.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    tokens = tokens * fuse.norm.weight + fuse.norm.bias
    attend = fuse.attend
    query, key, value = (
        tokens @ weight.T + bias
        for weight, bias in zip(
            attend.in_proj_weight.chunk(3), attend.in_proj_bias.chunk(3), strict=True
        )
    )
    gathered = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = (query[:, :1, ..., part] * key[..., part]).sum(-1) / math.sqrt(4)
        gathered.append((scores.softmax(1)[..., None] * value[..., part]).sum(1))
    joined = torch.cat(gathered, dim=-1) @ attend.out_proj.weight.T + attend.out_proj.bias
    return convolved(fuse.expand, joined.movedim(-1, 1))


@pytest.mark.parametrize(
    ("mea", "formula"),
    [
        ("add", by_sum),
        ("concat", by_concatenation),
        ("se", by_squeeze_and_excitation),
        ("attention", by_self_attention),
    ],
)
def test_what_stands_in_place_of_mea_fuses_the_levels_by_its_own_formula(mea, formula):
    neck, generator = make_neck(mea), torch.Generator().manual_seed(6)
    embeddings = [torch.randn(2, 6, 2, 3, generator=generator) for _ in range(3)]
    with torch.no_grad():
        found, expected = neck.fuse(embeddings), formula(neck.fuse, embeddings)
    assert found.shape == (2, 6, 2, 3)
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_the_embeddings_are_1x1_convolutions_of_the_cascade_without_an_activation():
    # With the sum in place of MEA, z^P is the sum of the e_n.
    neck, pyramid = make_neck("add"), make_pyramid()
    coarse, middle, fine = pyramid.levels
    a = [layer(x) for layer, x in zip(neck.levels, (fine, middle, coarse), strict=True)]
    first = functional.avg_pool2d(a[0], 2)
    second = functional.avg_pool2d(a[1] + first, 2)
    joined = [functional.avg_pool2d(first, 2), second, a[2] + second]
    embedded = [convolved(layer, x) for layer, x in zip(neck.embed, joined, strict=True)]
    assert all((e < 0).any() for e in embedded)
    found = neck(pyramid)
    assert torch.allclose(found.patches, sum(embedded), atol=1e-5)
    assert torch.allclose(found.image, embedded[2].mean((2, 3)), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_only_relu_of_rfb_lite_is_its_last(dims):
    torch.manual_seed(0)
    block = shake(RFBLite(dims, 5, 4))
    x = torch.randn(2, 5, *(6, 7, 8)[:dims])
    branches = [conv_norms(branch, x) for branch in block.branches]
    merged = conv_norms(block.merge, torch.cat(branches, dim=1)) + conv_norms(block.residual, x)
    assert (merged < 0).any()
    assert torch.allclose(block(x), merged.clamp(min=0), atol=1e-5)


# --- I²Net's levels and MORSE's rendering head


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_levels_of_i2net_are_projected_normalised_and_rectified(dims):
    torch.manual_seed(0)
    project = shake(LevelProjection(dims, (5, 4), 6))
    levels = [torch.randn(2, c, *(s, s + 1, s + 2)[:dims]) for c, s in ((5, 2), (4, 4))]
    for layer, level, found in zip(project.levels, levels, project(levels), strict=True):
        expected = conv_norms(layer, level)
        assert (expected < 0).any()
        assert torch.allclose(found, expected.clamp(min=0), atol=1e-5)


def rendered(
    head: RenderingHead,
    coords: torch.Tensor,
    features: torch.Tensor,
    coarse: torch.Tensor,
    *,
    reinject: bool,
    residual: bool,
) -> torch.Tensor:
    """The rendering head by its definition: three hidden layers with ReLU, a linear predictor."""
    turns = 2 * math.pi * coords @ head.encoding.frequencies
    x = torch.cat([turns.sin(), turns.cos(), features, coarse], dim=-1)
    for layer in head.hidden:
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
        x = torch.cat([x, coarse], dim=-1) if reinject else x
    logits = x @ head.predict.weight.T + head.predict.bias
    return logits + coarse if residual else logits


@pytest.mark.parametrize("name", list(RENDERING))
@pytest.mark.parametrize("reinject", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_the_rendering_head_of_each_row_is_the_network_that_was_asked_for(name, reinject, residual):
    options = {**RENDERING[name], "reinject": reinject, "residual": residual}
    head = make_network(head=options, dims=2).head.render
    generator = torch.Generator().manual_seed(8)
    coords = torch.rand(2, 9, 2, generator=generator) * 2 - 1
    features, coarse = (torch.randn(2, 9, c, generator=generator) for c in (8, 3))
    with torch.no_grad():
        found = head(coords, features, coarse)
        expected = rendered(head, coords, features, coarse, reinject=reinject, residual=residual)
    assert len(head.hidden) == 3
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", list(RENDERING))
def test_the_frequencies_of_each_row_start_with_the_deviation_that_was_asked_for(name):
    for sigma in (0.5, 4.0):
        options = {**RENDERING[name], "sigma": sigma, "frequencies": 2000}
        frequencies = make_network(head=options, dims=2).head.render.encoding.frequencies
        assert frequencies.std().item() == pytest.approx(sigma, rel=0.05)
