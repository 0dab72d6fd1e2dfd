"""Augmentation: exact crops, known rotations, labels that follow the image, reproducible draws."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from MorseCore.augmentation import AugmentationConfig, augment
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.warping import affine_matrix, crop_affine

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


@pytest.mark.parametrize("size", [(9, 8), (9, 8, 7)])
def test_without_any_change_the_crop_is_the_slice_bit_for_bit(size: tuple[int, ...]) -> None:
    image, labels = noise_image(*size, channels=2)
    crop = (4,) * len(size)
    center = tuple(2 + 1.5 for _ in size)

    cut, cut_labels = augment(
        image, labels, crop=crop, center=center, config=NONE, generator=seeded()
    )

    window = (slice(2, 6),) * len(size)
    assert torch.equal(cut, image[(slice(None), *window)])
    assert torch.equal(cut_labels, labels[window])


def test_a_crop_larger_than_the_image_is_padded_with_zero_and_background() -> None:
    image, labels = torch.ones(1, 3, 4), torch.full((3, 4), 2)

    cut, cut_labels = augment(
        image, labels, crop=(7, 6), center=(1.0, 1.5), config=NONE, generator=seeded()
    )

    expected = torch.zeros(7, 6)
    expected[2:5, 1:5] = 1
    assert torch.equal(cut[0], expected)
    assert torch.equal(cut_labels, expected.long() * 2)


def test_a_crop_quite_outside_the_image_is_empty() -> None:
    image, labels = torch.ones(1, 3, 4), torch.ones(3, 4, dtype=torch.int64)
    for config in (NONE, only(rotation_probability=1.0)):
        cut, cut_labels = augment(
            image, labels, crop=(3, 3), center=(40.0, -40.0), config=config, generator=seeded()
        )
        assert not cut.any()
        assert not cut_labels.any()


def test_the_source_is_not_changed() -> None:
    image, labels = noise_image(8, 8)
    before = image.clone(), labels.clone()

    augment(image, labels, crop=(8, 8), center=(3.5, 3.5), config=EVERYTHING, generator=seeded())

    assert torch.equal(image, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize(
    ("degrees", "dims"),
    [((90, 0, 0), (1, 2)), ((0, 90, 0), (0, 2)), ((0, 0, 90), (0, 1)), ((90,), (0, 1))],
)
def test_a_quarter_turn_equals_rot90(degrees: tuple[float, ...], dims: tuple[int, int]) -> None:
    size = (6,) * (3 if len(degrees) == 3 else 2)
    image, labels = noise_image(*size)

    cut, cut_labels = crop_affine(
        image, labels, start=(0,) * len(size), crop=size, matrix=turned(*degrees)
    )

    assert torch.allclose(cut[0], torch.rot90(image[0], dims=dims), atol=1e-5)
    assert torch.equal(cut_labels, torch.rot90(labels, dims=dims))


def test_a_flip_by_resampling_equals_a_flip() -> None:
    image, labels = noise_image(5, 6)

    cut, cut_labels = crop_affine(
        image, labels, start=(0, 0), crop=(5, 6), matrix=turned(0, mirror=(1,))
    )

    assert torch.allclose(cut, image.flip(2), atol=1e-5)
    assert torch.equal(cut_labels, labels.flip(1))


def test_scale_is_the_diameter_after_over_the_diameter_before() -> None:
    mask = ball((61, 61), center=(30, 30), radius=12)

    _, grown = crop_affine(
        mask[None].float(), mask.long(), start=(0, 0), crop=(61, 61), matrix=turned(0, scale=1.9)
    )

    assert grown.sum().item() == pytest.approx(1.9**2 * mask.sum().item(), rel=0.02)


def test_a_turn_is_rigid_in_millimetres_when_voxels_are_not_cubes() -> None:
    # A disc of 36 mm radius on voxels of 1 x 3 mm is an ellipse of 36 x 12 voxels, turned or not.
    place = torch.arange(81) - 40
    disc = (place[:, None] ** 2 + (3 * place[None]) ** 2 <= 36**2).long()

    _, cut = crop_affine(
        disc[None].float(),
        disc,
        start=(0, 0),
        crop=(81, 81),
        matrix=turned(40, spacing=(1.0, 3.0)),
    )

    assert 2 * (cut * disc).sum() / (cut.sum() + disc.sum()) > 0.97


def test_the_image_is_interpolated_linearly_and_zero_outside() -> None:
    image = torch.tensor([[[3.0, 1.0, 1.0]] * 3])
    labels = image[0].long()

    cut, cut_labels = crop_affine(
        image, labels, start=(1, 1), crop=(1, 2), matrix=turned(0, scale=1 / 1.2)
    )

    # The two crop voxels look at columns 1.5 - 0.6 = 0.9 and 1.5 + 0.6 = 2.1.
    assert torch.allclose(cut[0], torch.tensor([[0.1 * 3 + 0.9, 0.9]]))
    assert cut_labels.tolist() == [[1, 1]]


def test_two_weak_neighbours_of_one_class_outvote_a_stronger_one() -> None:
    # The point in the middle of four voxels, a little nearer to the 2: weights .3025, .2475 twice
    # and .2025; nearest says 2, the one-hot maps say 1 (.495).
    labels = torch.tensor([[2, 1], [1, 0]])

    _, cut = crop_affine(
        labels[None].float(), labels, start=(0, 0), crop=(2, 2), matrix=turned(0, scale=10.0)
    )

    assert cut[0, 0].item() == 1


@pytest.mark.parametrize("size", [(48, 48), (40, 44, 48)])
def test_labels_move_with_the_image(size: tuple[int, ...]) -> None:
    mask = ball(size, center=tuple(n * 0.55 for n in size), radius=9)
    config = only(
        rotation_probability=1.0,
        scale_probability=1.0,
        mirror_probability=0.5,
        mirror_axes=(0, 1),
    )
    generator = seeded()
    for _ in range(10):
        cut, cut_labels = augment(
            mask[None].float(),
            mask.long(),
            crop=(32,) * len(size),
            center=tuple(n / 2 for n in size),
            config=config,
            generator=generator,
        )
        bright = cut[0] > 0.5
        assert bright.any()
        overlap = 2 * (bright & (cut_labels == 1)).sum() / (bright.sum() + (cut_labels == 1).sum())
        assert overlap > 0.95


def test_the_same_seed_gives_the_same_sample_and_another_seed_another() -> None:
    image, labels = noise_image(12, 12, 12)

    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return augment(
            image,
            labels,
            crop=(8, 8, 8),
            center=(5.5,) * 3,
            config=EVERYTHING,
            generator=seeded(seed),
        )

    torch.manual_seed(3)
    first = draw(7)
    torch.manual_seed(4)  # the global generator has no say
    again = draw(7)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], draw(8)[0])


def test_only_the_named_axes_are_mirrored() -> None:
    image, labels = noise_image(4, 5, 6)
    config = only(mirror_probability=1.0, mirror_axes=(2,))

    cut, cut_labels = augment(
        image, labels, crop=(4, 5, 6), center=(1.5, 2.0, 2.5), config=config, generator=seeded()
    )

    assert torch.equal(cut, image.flip(3))
    assert torch.equal(cut_labels, labels.flip(2))


def test_mirroring_and_turning_together_still_mirror() -> None:
    image, labels = noise_image(6, 6)
    config = only(
        rotation_probability=1.0,
        rotation_degrees=(0.0,),
        mirror_probability=1.0,
        mirror_axes=(0,),
    )

    cut, _ = augment(
        image, labels, crop=(6, 6), center=(2.5, 2.5), config=config, generator=seeded()
    )

    assert torch.allclose(cut, image.flip(1), atol=1e-5)


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise_probability", 1.5),
        ("noise_std", -1.0),
        ("scale", (1.4, 0.7)),
        ("scale", (0.0, 1.0)),
        ("gamma", (0.7,)),
        ("low_resolution_zoom", (0.5, 2.0)),
        ("rotation_degrees", (10.0, 10.0)),
        ("mirror_axes", (3,)),
        ("mirror_axes", (0, 0)),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        only(**{field: value})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "crop", "axes", "error", "message"),
    [
        (5, (4, 4), (), DatasetError, "one size"),
        (6, (4, 4, 4), (), ConfigError, "2 dimensions"),
        (6, (4, 4), (2,), ConfigError, "mirror_axes"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(
    rows: int, crop: tuple[int, ...], axes: tuple[int, ...], error: type[Exception], message: str
) -> None:
    image, labels = noise_image(6, 6)
    config = only(mirror_axes=axes)
    with pytest.raises(error, match=message):
        augment(
            image,
            labels[:rows],
            crop=crop,
            center=(2.0, 2.0),
            config=config,
            generator=seeded(),
        )
