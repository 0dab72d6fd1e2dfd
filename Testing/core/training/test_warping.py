"""Crops, turns, scales and flips: image and labels go the same way, in millimetres."""

import pytest
import torch

from augmented import EVERYTHING, NONE, ball, noise_image, only, seeded, turned
from MorseCore.training.augmentation import augment
from MorseCore.training.warping import crop_affine


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
