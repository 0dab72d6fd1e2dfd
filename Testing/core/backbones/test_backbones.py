"""What holds for every backbone, and what the papers say of each one's size."""

import pytest
import torch
from safetensors.torch import load, save

from MorseCore.backbones import BACKBONES
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.network import NetworkConfig
from MorseCore.system.devices import autocast
from networks import BACKBONES as TINY
from networks import ONLY_2D

ALL = [(name, dims) for name in TINY for dims in (2, 3) if dims == 2 or name not in ONLY_2D]


def build(name: str, *, dims: int, in_channels: int = 1, **sizes: object) -> torch.nn.Module:
    """A tiny backbone with random weights, alike for every call, in evaluation mode."""
    torch.manual_seed(3)
    sizes = TINY[name] | sizes
    if "image_size" in sizes:
        sizes["image_size"] = sizes["image_size"][:dims]
    config = BACKBONES.decode(sizes, "backbone")
    return config.build(in_channels=in_channels, spatial_dims=dims).eval()


def least_image(backbone: torch.nn.Module, *, channels: int = 1) -> torch.Tensor:
    """(2, C, *S) noise of the smallest sides that the backbone accepts, all different."""
    spec = backbone.spec
    size = spec.fixed_size or [spec.divisor * n for n in (1, 2, 3)][: spec.spatial_dims]
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(4))


def default(name: str, *, dims: int, in_channels: int = 1, **sizes: object) -> torch.nn.Module:
    """A backbone of full size, without memory for its weights."""
    with torch.device("meta"):
        config = BACKBONES[name](**sizes)
        return config.build(in_channels=in_channels, spatial_dims=dims)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "dims"), ALL)
def test_maps_have_the_channels_and_strides_that_the_spec_announces(name, dims):
    backbone = build(name, dims=dims)
    image = least_image(backbone)
    with torch.no_grad():
        pyramid = backbone(image)
    spec = backbone.spec
    assert pyramid.size == tuple(image.shape[2:])
    assert list(spec.strides) == sorted(spec.strides, reverse=True)
    assert len(pyramid.levels) == len(spec.channels) == len(spec.strides)
    for level, channels, stride in zip(pyramid.levels, spec.channels, spec.strides, strict=True):
        assert level.shape == (2, channels, *(n // stride for n in image.shape[2:]))
        assert torch.isfinite(level).all()
        assert level.std() > 0


@pytest.mark.parametrize(("name", "dims"), ALL)
def test_every_parameter_of_a_backbone_receives_a_gradient(name, dims):
    backbone = build(name, dims=dims).train()
    torch.manual_seed(5)
    sum(level.square().sum() for level in backbone(least_image(backbone)).levels).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters())


@pytest.mark.parametrize(("name", "dims"), ALL)
def test_saved_weights_give_the_same_maps_in_another_backbone(name, dims):
    backbone = build(name, dims=dims)
    image = least_image(backbone)
    backbone.train()(image)  # so that running statistics are not those of a new network
    other = build(name, dims=dims)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    weights = {name: value.contiguous() for name, value in backbone.state_dict().items()}
    other.load_state_dict(load(save(weights)))
    with torch.no_grad():
        maps, others = backbone.eval()(image).levels, other.eval()(image).levels
    assert all(torch.equal(a, b) for a, b in zip(maps, others, strict=True))


@pytest.mark.parametrize(("name", "dims"), ALL)
def test_a_backbone_runs_in_bfloat16(name, dims):
    backbone = build(name, dims=dims)
    with torch.no_grad(), autocast(torch.device("cpu"), "bf16"):
        levels = backbone(least_image(backbone)).levels
    assert all(torch.isfinite(level).all() for level in levels)


@pytest.mark.parametrize(("name", "dims"), ALL)
def test_a_side_that_does_not_halve_evenly_is_refused(name, dims):
    head = {"name": "iosnet", "widths": [4]}
    data = {"backbone": TINY[name], "head": head, "spatial_dims": dims}
    if "image_size" in TINY[name]:
        data["backbone"] = TINY[name] | {"image_size": TINY[name]["image_size"][:dims]}
    network = decode(NetworkConfig, data, "").build(num_classes=2)
    divisor = network.divisor
    size = [2 * divisor] * (dims - 1) + [2 * divisor + divisor // 2]
    with pytest.raises(ConfigError, match=f"image must be a multiple of {divisor} "):
        network(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("name", [name for name in TINY if name != "transunet"])
def test_a_grey_and_a_coloured_image_are_taken(name):
    backbone = build(name, dims=2, in_channels=3)
    with torch.no_grad():
        assert backbone(least_image(backbone, channels=3)).levels[-1].shape[0] == 2


PAPERS = [
    ("transunet", 2, {}, "128@4 64@2 16@1"),
    ("transunet", 2, {"maps": 4}, "256@8 128@4 64@2 16@1"),
    ("unetr", 3, {}, "64@4 32@2 16@1"),
    ("unetr", 2, {"image_size": (96, 96)}, "64@4 32@2 16@1"),
    ("resnet", 2, {}, "512@32 256@16 128@8 64@4 64@2"),
    ("resnet", 3, {"depth": 50}, "2048@32 1024@16 512@8 256@4 64@2"),
    ("res2net", 2, {}, "256@32 192@16 160@8 128@4"),
    ("res2net", 3, {"depth": 50}, "256@32 192@16 160@8 128@4"),
    ("unet_bilinear", 2, {}, "512@16 256@8 128@4 64@2 64@1"),
]


@pytest.mark.parametrize(("name", "dims", "sizes", "maps"), PAPERS)
def test_the_default_maps_are_the_papers(name, dims, sizes, maps):
    spec = default(name, dims=dims, **sizes).spec
    assert " ".join(f"{c}@{s}" for c, s in zip(spec.channels, spec.strides, strict=True)) == maps


# What the heads of these networks add to a count: a convolution from the finest map to the classes.
TRANSUNET_HEAD = 16 * 9 * 3 * 3 + 9  # 3x3, Synapse's nine classes
UNETR_HEAD = 16 * 9 + 9
UNET_HEAD = 64 * 9 + 9
COUNTS = [
    # TransUNet's released code on Synapse, executed: 105,277,081.
    ("transunet", 2, 3, {"image_size": (224, 224)}, 105_277_081 - TRANSUNET_HEAD),
    # MONAI's UNETR, executed, without the norms of its unused cross-attention: 92.8 M.
    ("unetr", 3, 1, {}, 92_783_961 - UNETR_HEAD),
    # torchvision's published counts less their classifiers of 1000 classes.
    ("resnet", 2, 3, {"depth": 18}, 11_689_512 - 513_000),
    ("resnet", 2, 3, {"depth": 34}, 21_797_672 - 513_000),
    ("resnet", 2, 3, {"depth": 50}, 25_557_032 - 2_049_000),
    # I2Net, Table 1: 17.26 M.
    ("unet_bilinear", 2, 1, {}, 17_262_345 - UNET_HEAD),
]


@pytest.mark.parametrize(("name", "dims", "channels", "sizes", "count"), COUNTS)
def test_the_default_sizes_have_the_published_number_of_parameters(
    name, dims, channels, sizes, count
):
    assert parameters(default(name, dims=dims, in_channels=channels, **sizes)) == count


def test_res2net_has_the_parameters_that_follow_from_swipes_table():
    def block(inputs: int, planes: int, *, is_first: bool) -> int:
        width, outputs = planes * 26 // 64, 2 * planes
        shortcut = inputs * outputs + 2 * outputs if is_first else 0
        squeeze = inputs * 4 * width + 8 * width
        splits = 3 * (9 * width**2 + 2 * width)
        return squeeze + splits + 4 * width * outputs + 2 * outputs + shortcut

    stem = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    inputs, expected = 64, stem
    for planes in (64, 80, 96, 128):
        expected += block(inputs, planes, is_first=True)
        expected += block(2 * planes, planes, is_first=False)
        inputs = 2 * planes
    assert expected == 904_762  # of SwIPE's 2.71 M
    assert parameters(default("res2net", dims=2, in_channels=3)) == expected


REFUSED = [
    ({"name": "transunet", "heads": 7}, "'hidden' must be a multiple of 'heads'"),
    ({"name": "transunet", "decoder": [8, 8]}, "one more than 'units'"),
    ({"name": "transunet", "maps": 5}, "'maps' must lie between 1 and 4"),
    ({"name": "transunet", "image_size": [250, 256]}, "multiples of 16"),
    ({"name": "transunet", "units": [3]}, "'units' needs two or more"),
    ({"name": "unetr", "patch": 12}, "power of two"),
    ({"name": "unetr", "layers": 10}, "multiple of 4"),
    ({"name": "unetr", "image_size": [96, 96, 90]}, "multiples of 'patch'"),
    ({"name": "unetr", "hidden": 0}, "'hidden' must be positive"),
    ({"name": "resnet", "blocks": [1, 1]}, "one positive number a stage"),
    ({"name": "resnet", "depth": 101}, "must be one of 18, 34, 50"),
    ({"name": "res2net", "planes": [2, 8, 8, 8]}, "leaves no channels"),
    ({"name": "res2net", "scale": 1}, "'scale' at least 2"),
    ({"name": "unet_bilinear", "channels": [8]}, "two or more"),
]


@pytest.mark.parametrize(("sizes", "message"), REFUSED)
def test_sizes_that_make_no_sense_are_refused_with_a_reason(sizes, message):
    with pytest.raises(ConfigError, match=message):
        BACKBONES.decode(sizes, "backbone")
