"""Heads that look into the image at points see all its channels."""

import pytest
import torch

from MorseCore.config import decode
from MorseCore.heads.parts.image_source import ImageSource
from MorseCore.network import NetworkConfig
from networks import BACKBONES, IMAGE_ROWS


@pytest.mark.parametrize("name", IMAGE_ROWS)
def test_a_head_with_an_image_source_reads_both_channels(name: str):
    torch.manual_seed(3)
    data = {"spatial_dims": 2, "in_channels": 2, "backbone": BACKBONES["unet"],
            "head": IMAGE_ROWS[name]}  # fmt: skip
    network = decode(NetworkConfig, data, "").build(num_classes=3).eval()
    image = torch.randn(1, 2, 16, 16)
    other = image.clone()
    other[:, 1] = torch.randn(1, 16, 16)
    coords = torch.rand(1, 50, 2) * 2 - 1
    source = next(m for m in network.modules() if isinstance(m, ImageSource))
    found, changed = (source(x)(coords) for x in (image, other))
    assert found.shape == (1, 50, source.channels)
    assert not torch.allclose(found, changed)
    points = network(image).logits(coords)
    assert torch.isfinite(points).all()
