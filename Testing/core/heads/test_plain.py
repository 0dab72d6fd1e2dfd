"""The baseline, its released classifier, and what sharpening alone makes of its mask."""

import math

import pytest
import torch
from torch.nn import functional

from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads.plain import PlainField
from MorseCore.network import NetworkConfig
from MorseCore.points import grid_coords, pixel_axes
from MorseCore.renderers import DenseConfig
from networks import make_image, make_network


def test_morses_released_classifier_has_3x3_weights_and_1305_parameters():
    counts = {}
    for kernel in (1, 3):
        data = {
            "spatial_dims": 2, "backbone": {"name": "unet"},
            "head": {"name": "plain", "kernel": kernel},
        }  # fmt: skip
        network = decode(NetworkConfig, data, "").build(num_classes=9)
        counts[kernel] = sum(p.numel() for p in network.head.parameters())
    assert counts == {1: 153, 3: 1305}


@pytest.mark.parametrize("dims", [2, 3])
def test_a_classifier_of_3_convolves_the_finest_map(dims):
    network, image = (
        make_network("unet3d", {"name": "plain", "kernel": 3}, dims=dims),
        (make_image(dims)),
    )
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    layer = network.head.classify
    with torch.no_grad():
        field = network(image)
        finest = network.backbone(image).levels[-1]
        expected = convolve(finest, layer.weight, layer.bias, padding=1)
        assert torch.allclose(field.coarse_grid(field.pixels()), expected, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_sharpening_changes_the_final_answer_by_what_smoothing_takes_away(dims):
    values = torch.randn(2, 3, *(6, 5, 7)[:dims], generator=torch.Generator().manual_seed(0))
    field = PlainField(values, tuple(values.shape[2:]), sharpen=0.5)
    padded = functional.pad(values, [1] * 2 * dims, mode="replicate")
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    for axis in range(2, 2 + dims):
        n = padded.shape[axis] - 2
        padded = sum(k * padded.narrow(axis, i, n) for i, k in enumerate(kernel))
    coords = grid_coords(field.pixels()).expand(2, -1, -1)
    expected = (values + 0.5 * (values - padded)).flatten(2).transpose(1, 2)
    assert torch.allclose(field.logits(coords), expected, atol=1e-5)
    assert torch.equal(field.coarse(coords), PlainField(values, field.size).logits(coords))
    assert field.memory() > PlainField(values, field.size).memory()


def test_sharpening_gives_back_what_averaging_and_interpolation_cut_from_discs():
    def map_of(radius: float, n: int) -> torch.Tensor:
        """Positive inside a disc, as curved in its middle as at its edge."""
        x, y = torch.meshgrid(*[(torch.arange(n) + 0.5) * 32 / n - 16] * 2, indexing="ij")
        return radius**2 - x**2 - y**2

    radii = (4.1, 4.7, 5.2, 5.9, 6.5, 7.3, 8.8)
    missing = []
    for sharpen in (0.0, 0.5):
        lost = 0.0
        for radius in radii:
            half = map_of(radius, 32).view(16, 2, 16, 2).mean((1, 3))
            field = PlainField(torch.stack([-half, half])[None], (32, 32), sharpen=sharpen)
            mask = DenseConfig().build().render(field, pixel_axes((256, 256))).refined.argmax(1)
            lost += math.pi * radius**2 - float(mask.sum()) / 64
        missing.append(lost / len(radii))
    # A twelfth of the step's square for interpolation, an eighth for the mean of two pixels, of the
    # second difference 2 along both axes: pi (4/12 + 1/8) 2 2 pixels.
    assert missing[0] == pytest.approx(5.76, abs=0.4)
    assert abs(missing[1]) < 0.8


def test_a_training_measures_both_answers_and_a_negative_share_is_refused():
    assert make_network("unet", {"name": "plain", "sharpen": 0.5}, dims=2).head.answers_twice
    assert not make_network("unet", "plain", dims=2).head.answers_twice
    assert make_network("unet", "morse", dims=2).head.answers_twice
    with pytest.raises(ConfigError, match="'sharpen' must not be negative; found -1"):
        make_network("unet", {"name": "plain", "sharpen": -1}, dims=2)
