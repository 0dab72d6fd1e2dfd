"""Images to augment, and settings that change one thing."""

from dataclasses import fields, replace
from typing import Any

import torch

from MorseCore.training.augmentation import AugmentationConfig
from MorseCore.training.warping import affine_matrix

NONE = AugmentationConfig.none()


def only(**changes: Any) -> AugmentationConfig:
    return replace(NONE, **changes)


EVERYTHING = only(
    mirror_axes=(0, 1),
    **{f.name: 1.0 for f in fields(NONE) if f.name.endswith("_probability")},
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_image(
    *size: int, channels: int = 1, classes: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn((channels, *size), generator=seeded(1))
    return image, torch.randint(0, classes, size, generator=seeded(2))


def ball(size: tuple[int, ...], *, center: tuple[float, ...], radius: float) -> torch.Tensor:
    axes = [torch.arange(n, dtype=torch.float32) - c for n, c in zip(size, center, strict=True)]
    squares = torch.stack(torch.meshgrid(*[axis**2 for axis in axes], indexing="ij")).sum(0)
    return squares <= radius**2


def turned(
    *degrees: float,
    scale: float = 1.0,
    mirror: tuple[int, ...] = (),
    spacing: tuple[float, ...] | None = None,
) -> torch.Tensor:
    voxel = spacing or (1.0,) * (3 if len(degrees) == 3 else 2)
    return affine_matrix(degrees, scale=scale, mirror=mirror, spacing=voxel)
