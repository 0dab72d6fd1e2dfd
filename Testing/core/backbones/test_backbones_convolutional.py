"""The residual networks do what their definitions say."""

from unittest.mock import patch

import pytest
import torch
from monai.networks.nets.resnet import ResNet as MonaiResNet
from torch.nn import functional

from MorseCore.backbones import BACKBONES
from MorseCore.backbones.layers import conv
from MorseCore.backbones.res2net import Res2Net
from MorseCore.backbones.resnetv2 import ResNetV2, StandardisedConv2d
from MorseCore.backbones.unet import UNetConfig


def shake(module: torch.nn.Module) -> None:
    """Norms with statistics and weights of their own, so that an exchanged one shows."""
    for layer in module.modules():
        if hasattr(layer, "running_mean"):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2.0)
        if isinstance(layer, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
            torch.nn.init.normal_(layer.weight)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("depth", "kind"), [(18, "basic"), (50, "bottleneck")])
def test_resnet_equals_monais(dims, depth, kind):
    torch.manual_seed(0)
    theirs = MonaiResNet(
        kind, [2, 1, 1, 1], [4, 5, 6, 7], spatial_dims=dims, n_input_channels=2,
        conv1_t_stride=2, feed_forward=False, bias_downsample=False,
    ).eval()  # fmt: skip
    shake(theirs)
    config = BACKBONES["resnet"](depth=depth, channels=(4, 5, 6, 7), blocks=(2, 1, 1, 1))
    ours = config.build(in_channels=2, spatial_dims=dims).eval()
    names = {f"layer{n}.": f"stages.{n - 1}." for n in (1, 2, 3, 4)}
    weights = {names.get(k[:7], k[:7]) + k[7:]: v for k, v in theirs.state_dict().items()}
    ours.load_state_dict(weights)
    theirs.avgpool = torch.nn.Identity()
    with torch.no_grad():
        image = torch.randn(1, 2, *(64, 32, 32)[:dims])
        assert torch.allclose(ours(image).levels[0].flatten(1), theirs(image), atol=1e-5)


def res2net(**sizes: object) -> Res2Net:
    torch.manual_seed(0)
    sizes = {"planes": (16, 16), "blocks": (1, 2), "stem": (4, 6)} | sizes
    network: Res2Net = BACKBONES["res2net"](**sizes).build(in_channels=1, spatial_dims=2).eval()
    shake(network)
    return network


@pytest.mark.parametrize("is_first", [True, False])
def test_the_splits_of_a_res2net_block_cascade_except_in_the_first_of_a_stage(is_first):
    block = res2net().stages[1][0 if is_first else 1]
    seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for n, convolution in enumerate(block.convs):
        convolution.register_forward_hook(
            lambda _, inputs, output, n=n: seen.__setitem__(n, (inputs[0], output))
        )
    with torch.no_grad():
        x = torch.randn(1, 32, 8, 8)
        block(x)
        splits = block.bn1(block.conv1(x)).relu().split(block.width, dim=1)
        for n in range(3):
            before = block.bns[n - 1](seen[n - 1][1]).relu() if n else 0
            expected = splits[n] if is_first else splits[n] + before
            assert torch.allclose(seen[n][0], expected, atol=1e-6)
    assert len(seen) == len(splits) - 1 == 3


def test_the_last_split_of_a_res2net_block_passes_unchanged():
    block = res2net().stages[1][1]
    with torch.no_grad():
        for norm in block.bns:  # nothing of the convolved splits is left
            norm.weight.zero_()
            norm.bias.zero_()
        x = torch.randn(1, 32, 4, 4)
        last = block.bn1(block.conv1(x)).relu()[:, -block.width :]
        weight = block.conv3.weight[:, -block.width :]
        expected = (block.bn3(torch.nn.functional.conv2d(last, weight)) + x).relu()
        assert torch.allclose(block(x), expected, atol=1e-6)


def test_the_shortcut_of_a_res2net_stage_averages_rather_than_skips_pixels():
    shortcut = res2net().stages[1][0].shortcut
    with torch.no_grad():
        x = torch.randn(1, 32, 8, 8)
        mean = x.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
        assert torch.allclose(shortcut(x), shortcut[2](shortcut[1](mean)), atol=1e-6)


def test_a_volume_of_one_step_of_the_coarsest_map_is_taken_by_res2net():
    sizes = {"planes": (4, 4, 4, 4), "blocks": (1, 1, 1, 1), "stem": (2, 2), "base_width": 32}
    network = BACKBONES["res2net"](**sizes).build(in_channels=1, spatial_dims=3).eval()
    with torch.no_grad():  # torch's own padding of a 3D average would refuse it
        assert network(torch.zeros(1, 1, 32, 32, 32)).levels[0].shape == (1, 8, 1, 1, 1)


def test_standardised_filters_do_not_depend_on_their_scale_or_mean():
    torch.manual_seed(0)
    layer = StandardisedConv2d(3, 4, 3, bias=False)
    image = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        before = layer(image)
        layer.weight.mul_(50.0).add_(7.0)
        assert torch.allclose(layer(image), before, atol=1e-2)


def test_the_unpadded_pool_of_transunets_resnet_leaves_zeros_at_the_far_end_of_its_skip():
    torch.manual_seed(0)
    encoder = ResNetV2(1, width=4, units=(1, 1, 1)).eval()
    with torch.no_grad():
        coarse, skips = encoder(torch.randn(1, 1, 32, 48))
    assert [tuple(skip.shape[2:]) for skip in skips] == [(16, 24), (8, 12), (4, 6)]
    assert tuple(coarse.shape[2:]) == (2, 3)
    assert (skips[1][..., -1, :] == 0).all()
    assert (skips[1][..., -1] == 0).all()
    assert (skips[1][..., :-1, :-1] != 0).any(dim=1).all()
    assert (skips[2] != 0).any(dim=1).all()


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_small_volume_is_convolved_alike_in_training_and_at_inference(dilation: int) -> None:
    layer = conv(3)(4, 6, 3, padding=dilation, dilation=dilation)
    image = torch.randn(1, 4, 6, 7, 8)
    expected = layer(image).detach()  # with a gradient: torch's own loops
    original = torch.mkldnn_convolution
    with patch("torch.mkldnn_convolution", wraps=original) as fast, torch.inference_mode():
        found = layer(image)
        layer(image.expand(2, *image.shape[1:]))  # torch takes oneDNN for these two by itself
        layer(torch.zeros(1, 4, 80, 80, 4))
    assert fast.call_count == int(torch.backends.mkldnn.is_available())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_unet_up_samples_with_corners_aligned_where_the_released_code_is_asked_for(dims):
    image = torch.randn(1, 1, *(8, 16, 24)[:dims], generator=torch.Generator().manual_seed(5))
    answers = []
    for aligned in (False, True):
        torch.manual_seed(1)
        config = UNetConfig((4, 6, 8), (0.0,) * 3, align_corners=aligned)
        unet = config.build(in_channels=1, spatial_dims=dims).eval()
        bottom = unet(image).levels[0]
        mode = "bilinear" if dims == 2 else "trilinear"
        expected = functional.interpolate(
            unet.upsamplers[0][0](bottom), scale_factor=2, mode=mode, align_corners=aligned
        )
        assert torch.equal(unet.upsamplers[0](bottom), expected)
        answers.append(unet(image).levels[-1])
    assert not torch.allclose(*answers)
