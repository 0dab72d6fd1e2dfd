"""From a scan's own grid to the grid a model sees: turned, and interpolated only where needed."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images.grids import (
    canonical_geometry,
    inside_source,
    nearest_voxels,
    tilt,
    to_model_grid,
)
from MorseCore.images.imageio import Volume
from MorseCore.images.inverse_resampling import to_input_grid_labels, to_input_grid_scalar
from turned_grids import SHAPE, ball, centred, one_hot, positions, turned


def signed_permutations() -> Iterator[np.ndarray]:
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(4)
            matrix[:3, :3] = np.eye(3)[:, order] * signs
            matrix[:3, 3] = (10, -20, 30)
            yield matrix


@pytest.mark.parametrize("matrix", list(signed_permutations()))
def test_turning_to_the_model_and_back_is_the_identity(matrix: np.ndarray) -> None:
    geometry = Geometry(SHAPE, matrix @ np.diag([1.0, 2.0, 3.0, 1.0]))
    array = np.arange(60, dtype=np.int16).reshape(SHAPE)
    image, model = to_model_grid(Volume(array, geometry, "scan"), spacing=None)
    assert np.array_equal(np.sign(np.round(model.direction, 6)), np.eye(3))
    labels = (image % 4).astype(np.int64)
    back = to_input_grid_labels(one_hot(labels, 4), model_geometry=model, input_geometry=geometry)
    assert back.dtype == np.uint8
    assert np.array_equal(back, array % 4)
    scalar = to_input_grid_scalar(image, model_geometry=model, input_geometry=geometry)
    assert np.array_equal(scalar, array)


@pytest.mark.parametrize("matrix", list(signed_permutations()))
def test_a_voxel_keeps_its_place_in_the_patient(matrix: np.ndarray) -> None:
    geometry = Geometry(SHAPE, matrix @ np.diag([1.0, 2.0, 3.0, 1.0]))
    array = np.zeros(SHAPE, dtype=np.float32)
    array[2, 1, 4] = 1
    image, model = to_model_grid(Volume(array, geometry, "scan"), spacing=None)
    k, j, i = (int(n[0]) for n in np.nonzero(image))
    np.testing.assert_allclose(
        model.to_world(np.array([i, j, k])), geometry.to_world(np.array([4, 1, 2]))
    )


def test_the_model_sees_right_anterior_superior() -> None:
    geometry = Geometry(SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]))  # i to the left, j to posterior
    array = np.arange(60, dtype=np.float32).reshape(SHAPE)
    image, model = to_model_grid(Volume(array, geometry, "scan"), spacing=None)
    assert np.array_equal(image, array[:, ::-1, ::-1])
    assert model.origin == (-4.0, -3.0, 0.0)


def test_the_scan_itself_is_never_handed_out() -> None:
    array = np.zeros(SHAPE, dtype=np.float32)
    image, _ = to_model_grid(Volume(array, Geometry(SHAPE, np.eye(4)), "scan"), spacing=None)
    image[:] = 1
    assert array.sum() == 0


def test_a_sagittal_slice_stays_a_slice_for_a_2d_model() -> None:
    matrix = np.zeros((4, 4))
    matrix[1, 0], matrix[2, 1], matrix[0, 2], matrix[3, 3] = -1, -1, 1, 1  # i to P, j to I, k to R
    geometry = Geometry(SHAPE, matrix)
    array = np.arange(60, dtype=np.float32).reshape(SHAPE)
    image, model = to_model_grid(Volume(array, geometry, "s"), spacing=None, spatial_dims=2)
    assert np.array_equal(image, array[:, ::-1, ::-1])  # i to A, j to S within each slice
    assert np.array_equal(model.direction, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_a_tilted_slice_is_not_interpolated_for_a_2d_model() -> None:
    geometry = Geometry((3, 8, 8), turned(40, 0) @ np.diag([1.0, 1.0, 8.0, 1.0]))
    array = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    volume = Volume(array, geometry, "s")
    image, _ = to_model_grid(volume, spacing=(1.0, 1.0, 1.0), spatial_dims=2)
    assert np.array_equal(image, array)


def test_a_2d_model_resamples_within_slices_only() -> None:
    volume = Volume(np.zeros((3, 8, 8), np.float32), Geometry((3, 8, 8), np.eye(4)), "s")
    image, model = to_model_grid(volume, spacing=(2.0, 2.0, 99.0), spatial_dims=2)
    assert image.shape == (3, 4, 4)
    assert model.spacing == (2.0, 2.0, 1.0)


def test_a_small_tilt_is_left_and_a_large_one_is_not() -> None:
    array = np.random.default_rng(0).random((6, 7, 8), dtype=np.float32)
    small = Geometry((6, 7, 8), turned(2.9, 2))
    image, model = to_model_grid(Volume(array, small, "scan"), spacing=None)
    assert np.array_equal(image, array)
    assert model.is_close(small)
    large = Geometry((6, 7, 8), turned(3.1, 2))
    _, model = to_model_grid(Volume(array, large, "scan"), spacing=None)
    assert np.array_equal(model.direction, np.eye(3))
    assert tilt(small) == pytest.approx(2.9)


def test_a_spacing_within_one_per_cent_is_taken_as_equal() -> None:
    array = np.random.default_rng(0).random((90, 4, 4), dtype=np.float32)
    volume = Volume(array, Geometry((90, 4, 4), np.diag([1.0, 1.0, 1.009, 1.0])), "scan")
    image, _ = to_model_grid(volume, spacing=(1.0, 1.0, 1.0))
    assert np.array_equal(image, array)


def test_resampling_keeps_the_extent_in_mm() -> None:
    geometry = centred((7, 10, 12), (1.0, 1.5, 4.0), turned(2, 0))
    volume = Volume(np.zeros((7, 10, 12), np.float32), geometry, "scan")
    _, model = to_model_grid(volume, spacing=(1.0, 1.0, 1.0))
    assert model.shape == (28, 15, 12)
    faces = np.array([-0.5, -0.5, -0.5])
    np.testing.assert_allclose(model.to_world(faces), geometry.to_world(faces))
    far, model_far = np.array([11.5, 9.5, 6.5]), np.array([11.5, 14.5, 27.5])
    np.testing.assert_allclose(model.to_world(model_far), geometry.to_world(far))


def test_halving_the_spacing_of_two_voxels_gives_the_quarters_between() -> None:
    array = np.array([[[0.0, 4.0]]], dtype=np.float32)
    volume = Volume(array, Geometry((1, 1, 2), np.diag([2.0, 1.0, 1.0, 1.0])), "scan")
    image, _ = to_model_grid(volume, spacing=(1.0, 1.0, 1.0))
    assert image.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]


def test_a_pattern_finer_than_the_models_voxels_becomes_grey_not_stripes() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (4, 4, 16))  # 32 voxels along i
    volume = Volume(stripes, Geometry((4, 4, 32), np.eye(4)), "scan")
    image, _ = to_model_grid(volume, spacing=(3.0, 1.0, 1.0))
    inner = image[:, :, 1:-1]
    assert np.abs(inner - 0.5).max() < 0.05  # without smoothing: from 0 to 1


def test_a_linear_ramp_is_reproduced_exactly_inside() -> None:
    geometry = centred((9, 10, 11), (1.3, 0.9, 2.1), turned(25, 1))
    ramp = (positions(geometry) @ [0.3, -0.2, 0.5]).astype(np.float32)
    image, model = to_model_grid(Volume(ramp, geometry, "scan"), spacing=(1.5, 1.5, 1.5))
    expected = positions(model) @ [0.3, -0.2, 0.5]
    index = geometry.to_index(positions(model))
    inner = ((index >= 0.5) & (index <= np.array([9.5, 8.5, 7.5]))).all(axis=-1)
    assert inner.sum() > 100
    assert np.abs(image - expected)[inner].max() < 1e-4


def test_outside_of_a_tilted_scan_is_the_mean_of_a_normalised_one() -> None:
    geometry = centred((12, 12, 12), (1.0, 1.0, 1.0), turned(45, 2))
    array = np.full((12, 12, 12), 7.0, np.float32)
    array[6, 6, 6] = -3
    image, model = to_model_grid(Volume(array, geometry, "scan"), spacing=None)
    inside = inside_source(geometry, model)
    assert model.shape == (12, 17, 17)  # 12 * sqrt(2)
    assert image[0, 0, 0] == 0
    assert (image[~inside] == 0).all()
    assert 0.9 < inside.sum() / 12**3 < 1.1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ball_in_a_tilted_anisotropic_scan_stays_that_ball(axis: int) -> None:
    geometry = centred((28, 40, 44), (1.0, 1.1, 1.8), turned(30, axis))
    volume = Volume(ball(geometry, 12.0), geometry, "scan")
    image, model = to_model_grid(volume, spacing=(1.2, 1.2, 1.2))
    assert np.array_equal(model.direction, np.eye(3))
    assert_is_ball(image > 0.5, model)
    scores = torch.from_numpy(np.stack([1 - image, image]))
    back = to_input_grid_labels(scores, model_geometry=model, input_geometry=geometry)
    assert_is_ball(back == 1, geometry)


def assert_is_ball(mask: np.ndarray, geometry: Geometry, radius: float = 12.0) -> None:
    centre = positions(geometry)[mask].mean(axis=0)
    assert np.abs(centre - (5, -7, 11)).max() < 0.5 * min(geometry.spacing)
    volume = mask.sum() * geometry.voxel_volume
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)


def test_a_grid_too_large_to_hold_is_refused_with_its_size() -> None:
    volume = Volume(
        np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), np.diag([1e3, 1e3, 1e3, 1])), "scan"
    )
    with pytest.raises(GeometryError, match="2000 x 2000 x 2000 voxels"):
        to_model_grid(volume, spacing=(1.0, 1.0, 1.0))


def test_points_are_found_again_in_the_scan() -> None:
    scan = Geometry((10, 10, 10), np.diag([-2.0, -2.0, 2.0, 1.0]))
    model = canonical_geometry(scan)
    indices, world = nearest_voxels(
        np.array([[0, 0, 0], [9, 8, 7], [20, 0, 0]]), model_geometry=model, input_geometry=scan
    )
    assert indices.tolist() == [[9, 9, 0], [0, 1, 7], [0, 9, 0]]  # the last is kept inside
    assert indices.dtype == np.int32
    assert world.tolist() == [[-18, -18, 0], [0, -2, 14], [22, -18, 0]]
