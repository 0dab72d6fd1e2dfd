"""Random samples: the same of the same seed; settings that cannot be used are refused."""

import pytest
import torch

from augmented import EVERYTHING, noise_image, only, seeded
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.training.augmentation import augment


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
