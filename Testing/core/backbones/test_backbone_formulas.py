"""The U-Nets against their definitions, written out once more with the networks' own weights."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from MorseCore.backbones import BACKBONES

CONVOLUTION = {2: functional.conv2d, 3: functional.conv3d}
POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
Block = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def build(name: str, *, dims: int, **sizes: object) -> nn.Module:
    """In evaluation mode, with norms of their own, so that an exchanged one shows."""
    torch.manual_seed(0)
    network = BACKBONES[name](**sizes).build(in_channels=1, spatial_dims=dims)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            layer.running_mean.normal_(std=0.2)
            layer.running_var.uniform_(0.5, 2.0)
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)):
            nn.init.normal_(layer.weight, mean=1.0, std=0.3)
            nn.init.normal_(layer.bias, std=0.5)
    return network.eval()


def layers_of(block: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """The convolutions of a block, each with its normalisation."""
    layers = list(block.modules())
    convolutions = [x for x in layers if isinstance(x, (nn.Conv2d, nn.Conv3d))]
    kinds = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)
    return list(zip(convolutions, [x for x in layers if isinstance(x, kinds)], strict=True))


def convolved(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return CONVOLUTION[x.ndim - 2](x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def per_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))


def batch_norm(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """At inference."""
    x = (x - per_channel(norm.running_mean, x)) / per_channel(norm.running_var + 1e-5, x).sqrt()
    return x * per_channel(norm.weight, x) + per_channel(norm.bias, x)


def group_norm(norm: nn.Module, x: torch.Tensor, groups: int) -> torch.Tensor:
    parts = x.reshape(x.shape[0], groups, -1)
    mean, variance = parts.mean(2, keepdim=True), parts.var(2, correction=0, keepdim=True)
    x = ((parts - mean) / (variance + 1e-5).sqrt()).view_as(x)
    return x * per_channel(norm.weight, x) + per_channel(norm.bias, x)


def activated_at(slope: float) -> Block:
    """Convolution, batch normalisation, ReLU with this slope below 0; twice."""

    def block(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for convolution, norm in layers_of(module):
            x = batch_norm(norm, convolved(convolution, x))
            x = torch.where(x > 0, x, slope * x)
        return x

    return block


def grouped(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Group normalisation in 8 groups (1 for the grey image), convolution, ReLU; twice."""
    for convolution, norm in layers_of(module):
        groups = 8 if x.shape[1] >= 8 else 1
        x = convolved(convolution, group_norm(norm, x, groups)).clamp(min=0)
    return x


def encode(network: nn.Module, image: torch.Tensor, block: Block) -> list[torch.Tensor]:
    """The maps of the encoder, fine to coarse."""
    maps = [block(network.encoders[0], image)]
    for encoder in network.encoders[1:]:
        maps.append(block(encoder, POOL[image.ndim - 2](maps[-1], 2)))
    return maps


def noise(dims: int) -> torch.Tensor:
    return torch.randn(2, 1, *(8, 12, 16)[:dims], generator=torch.Generator().manual_seed(5))


def check(network: nn.Module, expected: list[torch.Tensor], image: torch.Tensor) -> None:
    levels = network(image).levels
    assert len(levels) == len(expected)
    for found, wanted in zip(levels, expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_unet_of_morse_follows_its_definition(dims):
    network = build("unet", dims=dims, channels=(4, 6, 8), dropout=(0.1, 0.2, 0.3))
    image, block = noise(dims), activated_at(0.01)
    *skips, x = encode(network, image, block)
    levels = [x]
    for upsampler, decoder in zip(network.upsamplers, network.decoders, strict=True):
        x = convolved(upsampler[0], levels[-1])
        x = functional.interpolate(x, scale_factor=2, mode=LINEAR[dims], align_corners=False)
        levels.append(block(decoder, torch.cat([skips.pop(), x], dim=1)))
    check(network, levels, image)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_bilinear_unet_follows_its_definition(dims):
    network = build("unet_bilinear", dims=dims, channels=(4, 6, 6))
    image, block = noise(dims), activated_at(0.0)
    *skips, x = encode(network, image, block)
    levels = [x]
    for decoder in network.decoders:
        x = functional.interpolate(
            levels[-1], scale_factor=2, mode=LINEAR[dims], align_corners=True
        )
        levels.append(block(decoder, torch.cat([skips.pop(), x], dim=1)))
    check(network, levels, image)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_3d_unet_follows_its_definition(dims):
    network = build("unet3d", dims=dims, channels=(16, 24, 32))
    image = noise(dims)
    *skips, x = encode(network, image, grouped)
    levels = []
    for decoder in network.decoders:
        for axis in range(2, x.ndim):  # each voxel twice along each axis
            x = x.repeat_interleave(2, dim=axis)
        x = grouped(decoder, torch.cat([skips.pop(), x], dim=1))
        levels.append(x)
    check(network, levels, image)


@torch.no_grad()
def test_each_level_of_the_unets_encoder_drops_its_own_share_and_the_decoder_nothing():
    shares = (0.25, 0.5, 0.75)
    network = build("unet", dims=2, channels=(4, 6, 8), dropout=shares)
    for encoder, share, inputs in zip(network.encoders, shares, (1, 4, 6), strict=True):
        (first, before), (second, after) = layers_of(encoder)
        # What is not dropped shows as 1 / (1 - p), what is as 0: all else is the identity.
        nn.init.zeros_(first.weight)
        nn.init.ones_(first.bias)
        nn.init.dirac_(second.weight)
        nn.init.zeros_(second.bias)
        for norm in (before, after):
            norm.reset_parameters()
            norm.eps = 0.0
        image = torch.zeros(8, inputs, 32, 32)
        assert torch.equal(encoder(image).unique(), torch.ones(1))
        encoder.train()
        before.eval()
        after.eval()
        answer = encoder(image)
        assert answer.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])
        dropped = (answer == 0).float()
        assert dropped.mean().item() == pytest.approx(share, abs=0.02)
        assert dropped.mean(dim=(2, 3)).std() < 0.05  # pixels are dropped, not whole channels
    for decoder, skip in zip(network.decoders, (6, 4), strict=True):
        norms = [norm for _, norm in layers_of(decoder)]
        decoder.train()
        for norm in norms:
            norm.eval()
        x = torch.randn(2, 2 * skip, 8, 8)
        assert torch.equal(decoder(x), decoder(x))
