"""What is measured: networks with random weights on images without content.

Time and memory then depend on sizes alone: points are chosen by uncertainty, but their number is
set as long as the renderer leaves no certain ones out. The shipped model does; there images matter.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.config import decode
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.network import Network, NetworkConfig

__all__ = ["PLAIN", "make_network", "morse", "noise", "write_case"]

PLAIN = {"name": "plain"}


def morse(preset: str = "default") -> dict[str, Any]:
    """A MORSE head of a preset; ``tiny`` is one for tests of the scripts."""
    if preset != "tiny":
        return {"name": "morse", "preset": preset}
    return {
        "name": "morse", "preset": "custom", "width": 8, "gate_stride": 4, "gate_depth": 1,
        "frequencies": 4, "render_width": 8,
    }  # fmt: skip


def make_network(
    backbone: Mapping[str, Any], head: Mapping[str, Any], *, dims: int, num_classes: int
) -> Network:
    """A network with random weights, the same in every run, to infer with."""
    torch.manual_seed(0)
    data = {"backbone": dict(backbone), "head": dict(head), "spatial_dims": dims}
    return decode(NetworkConfig, data, "network").build(num_classes=num_classes).eval()


def noise(shape: Sequence[int]) -> torch.Tensor:
    """A normalised image (K, J, I) of noise."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))


def write_case(path: Path, shape: Sequence[int], *, seed: int) -> Path:
    """An image file of noise, 1 mm."""
    voxels = np.random.default_rng(seed).normal(100, 20, tuple(shape)).astype(np.float32)
    k, j, i = shape
    write_volume(path, voxels, Geometry((k, j, i), np.eye(4)))
    return path
