"""Where a crop or a window was cut: its coordinates lead back to the source's."""

import itertools

import pytest
import torch

from MorseCore.inference.sliding_window import window_to_source
from MorseCore.points import pixel_axes, sample_grid, sample_rows, to_rows
from MorseCore.training.augmentation import AugmentationConfig, augment_located


def to_source(place: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    return coords @ place[:, :-1].T + place[:, -1]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_crop_shows_what_the_source_holds_at_its_place(dims: int) -> None:
    size, crop = (20, 26, 30)[:dims], (10, 8, 12)[:dims]
    # A linear image: interpolation is exact, and each axis has its own slope.
    ramps = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    image = sum(slope * ramp for slope, ramp in zip((1.0, 7.0, 31.0), ramps, strict=False))[None]
    config = AugmentationConfig.none()
    config = AugmentationConfig(
        **{**config.__dict__, "rotation_probability": 1.0, "scale_probability": 1.0,
           "scale": (0.8, 0.9), "rotation_degrees": (10.0,), "mirror_probability": 0.5,
           "mirror_axes": tuple(range(dims))}
    )  # fmt: skip
    for seed in range(6):
        cut, _, place, _ = augment_located(
            image, torch.zeros(size, dtype=torch.long), crop=crop,
            center=tuple(n / 2 for n in size), config=config,
            generator=torch.Generator().manual_seed(seed), spacing=(2.0, 1.0, 1.5)[:dims],
        )  # fmt: skip
        coords = torch.rand(50, dims, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.7
        there = sample_rows(to_rows(image[None]), size, to_source(place, coords)[None])
        here = sample_rows(to_rows(cut[None]), crop, coords[None])
        assert torch.allclose(here, there, atol=2e-2)


def test_a_window_knows_its_place_in_the_image_without_the_padding() -> None:
    image, low, window = (6, 20), (3, 0), (12, 8)  # padded in front by three rows
    box = low, tuple(a + n for a, n in zip(low, image, strict=True))
    source = sample_of_positions(image)
    for start in itertools.product([0], [0, 5, 12]):
        place = window_to_source(box, start, window)
        axes = pixel_axes(window)
        inside = torch.tensor([[axes[1][2], axes[0][4]]])  # pixel (4, 2) of the window
        at = to_source(place, inside)[0]
        found = sample_grid(source, (at[1:], at[:1]))[0, :, 0, 0]
        assert torch.allclose(found, torch.tensor([4.0 + start[0] - 3, 2.0 + start[1]]), atol=1e-4)


def sample_of_positions(size: tuple[int, int]) -> torch.Tensor:
    """(1, 2, *size): each pixel holds its own index."""
    rows, columns = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    return torch.stack([rows, columns])[None]
