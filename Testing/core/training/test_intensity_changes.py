"""Changes of the grey values: each does what its name says, and leaves the labels."""

import pytest
import torch

from augmented import noise_image, only, seeded
from MorseCore.training.augmentation import augment

INTENSITIES = ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma", "bias")


@pytest.mark.parametrize("name", INTENSITIES)
@pytest.mark.parametrize("size", [(16, 18), (10, 12, 14)])
def test_an_intensity_change_alters_the_image_stays_finite_and_leaves_the_labels(
    name: str, size: tuple[int, ...]
) -> None:
    image, labels = noise_image(*size, channels=2)
    config = only(**{f"{name}_probability": 1.0})
    center = tuple((n - 1) / 2 for n in size)

    cut, cut_labels = augment(
        image, labels, crop=size, center=center, config=config, generator=seeded()
    )

    assert cut.shape == image.shape
    assert cut.dtype == torch.float32
    assert torch.isfinite(cut).all()
    assert (cut - image).abs().max() > 1e-3
    assert torch.equal(cut_labels, labels)


@pytest.mark.parametrize("name", ["blur", "contrast", "low_resolution", "gamma"])
def test_a_constant_image_stays_constant(name: str) -> None:
    image, labels = torch.full((1, 9, 9), 2.0), torch.zeros(9, 9, dtype=torch.int64)
    config = only(**{f"{name}_probability": 1.0})

    cut, _ = augment(
        image, labels, crop=(9, 9), center=(4.0, 4.0), config=config, generator=seeded()
    )

    assert torch.allclose(cut, image, atol=1e-5)


def test_gamma_keeps_each_channels_mean_and_deviation() -> None:
    image, labels = noise_image(20, 20, channels=2)
    config = only(gamma_probability=1.0)

    cut, _ = augment(
        image, labels, crop=(20, 20), center=(9.5, 9.5), config=config, generator=seeded()
    )

    assert torch.allclose(cut.mean((1, 2)), image.mean((1, 2)), atol=1e-5)
    assert torch.allclose(cut.std((1, 2)), image.std((1, 2)), rtol=1e-4)


def test_a_blur_lowers_the_noise_and_keeps_the_sum_of_a_point() -> None:
    image = torch.zeros(1, 21, 21)
    image[0, 10, 10] = 1
    config = only(blur_probability=1.0, blur_sigma=(1.0, 1.0))

    cut, _ = augment(
        image,
        torch.zeros(21, 21, dtype=torch.int64),
        crop=(21, 21),
        center=(10.0, 10.0),
        config=config,
        generator=seeded(),
    )

    assert cut.sum().item() == pytest.approx(1.0, rel=1e-4)
    assert cut.max().item() == pytest.approx(1 / (2 * torch.pi), rel=0.02)  # 2D Gaussian, sigma 1
