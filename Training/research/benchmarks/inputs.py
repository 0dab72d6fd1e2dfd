"""Inputs of the benchmarks: networks with random weights, and images of noise.

Time and memory then depend on sizes alone: the renderer chooses points by uncertainty, but their
number is fixed. The shipped model leaves certain points out, so there the images matter.
:class:`Operations` counts what the networks compute, whatever the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.metrics.cost import measure_cost
from MorseCore.network import Network, NetworkConfig
from MorseCore.renderers import RefineConfig

__all__ = ["PLAIN", "Operations", "count", "find_images", "make_network", "morse", "noise",
           "write_case"]  # fmt: skip

PLAIN = {"name": "plain"}


def morse(preset: str = "default") -> dict[str, Any]:
    """The MORSE head of a preset; ``tiny`` is for tests of the scripts."""
    if preset != "tiny":
        return {"name": "morse", "preset": preset}
    return {
        "name": "morse", "preset": "custom", "width": 8, "gate_stride": 4, "gate_depth": 1,
        "frequencies": 4, "render_width": 8,
    }  # fmt: skip


def make_network(
    backbone: Mapping[str, Any], head: Mapping[str, Any], *, dims: int, num_classes: int
) -> Network:
    """A network for inference, with random weights that are the same in every run."""
    torch.manual_seed(0)
    data = {"backbone": dict(backbone), "head": dict(head), "spatial_dims": dims}
    return decode(NetworkConfig, data, "network").build(num_classes=num_classes).eval()


def find_images(folder: Path, count: int) -> list[Path]:
    """The first images of a folder.

    :raises ConfigError: if it holds none.
    """
    paths = sorted(folder.glob("*.nii.gz"))[:count]
    if not paths:
        raise ConfigError(f"'{folder}' holds no .nii.gz images.")
    return paths


def noise(shape: Sequence[int]) -> torch.Tensor:
    """A normalised image (K, J, I) of noise."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))


def write_case(path: Path, shape: Sequence[int], *, seed: int) -> Path:
    """An image file of noise, 1 mm."""
    voxels = np.random.default_rng(seed).normal(100, 20, tuple(shape)).astype(np.float32)
    k, j, i = shape
    write_volume(path, voxels, Geometry((k, j, i), np.eye(4)))
    return path


@dataclass(frozen=True)
class Operations:
    """Multiply-adds (GMAC) of one window.

    Their ratio is the least that a ratio of times can be, if every operation takes equally long.
    """

    backbone: float
    coarse: float
    """MORSE: its backbone and the coarse mask."""
    rendered: float
    """MORSE with its points."""

    @property
    def inference(self) -> float:
        """Operations of MORSE over those of its backbone."""
        return self.rendered / self.backbone

    @property
    def training(self) -> float:
        """The same over a run, whose first half renders no points (AWA, Eq. 4)."""
        return (self.coarse + self.rendered) / 2 / self.backbone

    def __str__(self) -> str:
        return (
            f"backbone {self.backbone:.2f} GMAC, with the coarse mask {self.coarse:.2f}, "
            f"with points {self.rendered:.2f}"
        )


def count(
    networks: Mapping[str, Network], *, size: Sequence[int], stride: int, points: int, passes: int
) -> Operations:
    """Count the operations on a window of zeros.

    :param networks: ``MORSE`` and ``backbone``, which has a linear layer for its head.
    :param stride: of MORSE's coarse mask; the backbone's is at every pixel.
    """

    def gmac(name: str, renderer: RefineConfig) -> float:
        network, built = networks[name], renderer.build()
        return measure_cost(network, lambda x: built.render(network(x)), size=size).macs / 1e9

    coarse = RefineConfig(passes=0, coarse_stride=stride)
    rendered = RefineConfig(points=points, passes=passes, coarse_stride=stride)
    return Operations(
        gmac("backbone", RefineConfig(passes=0)), gmac("MORSE", coarse), gmac("MORSE", rendered)
    )
