"""A spoilt image differs from the good one in the way that its kind says, and always alike."""

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.quality.spoiling import APART, KINDS, STRENGTHS, spoil
from MorseCore.training.phantoms import make_phantom

SHAPE = (24, 28, 26)


@pytest.fixture(scope="module")
def scan() -> tuple[Volume, np.ndarray]:
    image, labels = make_phantom(5, shape=SHAPE)
    return Volume(image, Geometry(SHAPE, np.eye(4)), "phantom"), labels.astype(np.uint8)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_image_and_keeps_labels_on_its_grid(
    scan: tuple[Volume, np.ndarray], kind: str, strength: int
) -> None:
    image, labels = scan
    before = image.array.copy()
    copy = spoil(kind, strength, image, labels, seed=3)
    np.testing.assert_array_equal(image.array, before)
    assert copy.image.array.shape == copy.labels.shape == copy.image.geometry.shape
    assert np.isfinite(copy.image.array).all()
    same = copy.image.array.shape == SHAPE and np.array_equal(copy.image.array, image.array)
    assert not same or copy.image.geometry.spacing != image.geometry.spacing
    again = spoil(kind, strength, image, labels, seed=3)
    np.testing.assert_array_equal(again.image.array, copy.image.array)


def test_three_kinds_are_set_apart_and_seven_are_left() -> None:
    assert {*APART} < {*KINDS}
    assert (len(APART), len(KINDS)) == (3, 10)


def test_what_a_shifted_box_loses_counts_as_missed(scan: tuple[Volume, np.ndarray]) -> None:
    image, labels = scan
    copy = spoil("shifted box", 2, image, labels, seed=3)
    whole = np.bincount(labels.ravel())
    assert copy.voxels.tolist() == whole.tolist()
    assert np.bincount(copy.labels.ravel(), minlength=3)[1:].sum() < whole[1:].sum()


def test_thick_slices_lie_where_their_voxels_lay(scan: tuple[Volume, np.ndarray]) -> None:
    image, labels = scan
    place = image.geometry.to_world(np.array([[12.0, 12.0, 12.0]]))[0]
    for seed in range(4):  # other axes
        copy = spoil("thick slices", 0, image, labels, seed=seed)
        assert sorted(copy.image.geometry.spacing) == pytest.approx([1, 1, 4])
        corner = copy.image.geometry.to_world(np.array([-0.5, -0.5, -0.5]))
        np.testing.assert_allclose(corner, -0.5, atol=1e-6)
        i, j, k = np.rint(copy.image.geometry.to_index(place[None])[0]).astype(int)
        assert copy.image.array[k, j, i] == pytest.approx(image.array[12, 12, 12], abs=0.7)


def test_a_wrong_header_says_how_much_it_enlarges(scan: tuple[Volume, np.ndarray]) -> None:
    copy = spoil("wrong spacing", 2, *scan, seed=3)
    before, after = scan[0].geometry.voxel_volume, copy.image.geometry.voxel_volume
    assert copy.volume_factor == pytest.approx(after / before)


@pytest.mark.parametrize("kind", ["air", "elsewhere"])
def test_where_nothing_is_nothing_is_true(scan: tuple[Volume, np.ndarray], kind: str) -> None:
    copy = spoil(kind, 1, *scan, seed=3)
    assert not copy.labels.any()
    assert not copy.voxels.any()
