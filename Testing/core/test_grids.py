"""The way to the model's grid and back, on volumes whose answer is known."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK
import torch

from MorseCore import grids, resampling
from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.grids import (
    canonical_axes,
    canonical_geometry,
    inside_source,
    nearest_voxels,
    tilt,
    to_model_grid,
)
from MorseCore.imageio import Volume
from MorseCore.resampling import AxisSampler, ObliqueSampler, make_sampler
from MorseCore.restoring import to_input_grid_labels, to_input_grid_scalar

SHAPE = (3, 4, 5)  # K, J, I: all different, so that no two axes can be mistaken


def signed_permutations() -> Iterator[np.ndarray]:
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(4)
            matrix[:3, :3] = np.eye(3)[:, order] * signs
            matrix[:3, 3] = (10, -20, 30)
            yield matrix


def turned(degrees: float, axis: int) -> np.ndarray:
    a, b = (n for n in range(3) if n != axis)
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def centred(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], turn: np.ndarray
) -> Geometry:
    """A grid whose middle is RAS (5, -7, 11)."""
    matrix = turn @ np.diag([*spacing, 1.0])
    middle = (np.array(shape[::-1]) - 1) / 2
    matrix[:3, 3] = np.array([5.0, -7.0, 11.0]) - matrix[:3, :3] @ middle
    return Geometry(shape, matrix)


def positions(geometry: Geometry) -> np.ndarray:
    """(K, J, I, 3) RAS mm of all voxel centres."""
    k, j, i = np.meshgrid(*map(np.arange, geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1))


def ball(geometry: Geometry, radius: float) -> np.ndarray:
    """Soft ball about RAS (5, -7, 11): 1 inside, 0 outside, a ramp of 3 mm."""
    distance = np.linalg.norm(positions(geometry) - (5, -7, 11), axis=-1)
    return np.clip((radius - distance) / 3 + 0.5, 0, 1).astype(np.float32)


def one_hot(labels: np.ndarray, classes: int) -> torch.Tensor:
    return torch.from_numpy(np.eye(classes, dtype=np.float32)[labels].transpose(3, 0, 1, 2).copy())


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


def test_outside_of_a_tilted_scan_is_its_smallest_value() -> None:
    geometry = centred((12, 12, 12), (1.0, 1.0, 1.0), turned(45, 2))
    array = np.full((12, 12, 12), 7.0, np.float32)
    array[6, 6, 6] = -3
    image, model = to_model_grid(Volume(array, geometry, "scan"), spacing=None)
    inside = inside_source(geometry, model)
    assert model.shape == (12, 17, 17)  # 12 * sqrt(2)
    assert image[0, 0, 0] == -3
    assert (image[~inside] == -3).all()
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


@pytest.mark.parametrize("degrees", [0, 33])
def test_the_interpolation_is_simpleitks(degrees: float) -> None:
    source = centred((14, 15, 16), (1.0, 1.2, 1.6), turned(degrees, 0))
    target = centred((12, 13, 14), (0.9, 0.9, 0.9), np.eye(4))
    smooth = np.sin(positions(source) @ [0.2, 0.1, 0.15]).astype(np.float32)
    image = SimpleITK.GetImageFromArray(smooth)
    spacing, origin, direction = source.lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    spacing, origin, direction = target.lps()
    expected = SimpleITK.Resample(
        image, target.shape[::-1], SimpleITK.Transform(), SimpleITK.sitkLinear,
        origin, spacing, direction, 0.0,
    )  # fmt: skip
    found = to_input_grid_scalar(smooth, model_geometry=source, input_geometry=target)
    np.testing.assert_allclose(found, SimpleITK.GetArrayFromImage(expected), atol=1e-4)


def random_scores(shape: tuple[int, int, int], classes: int) -> torch.Tensor:
    """Blobs of probability with long soft borders, some classes absent."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, classes, 4, 4, 4, generator=generator) * 3
    coarse[:, 0] += 2
    coarse[:, -1] -= 50
    return torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0].softmax(0)


@pytest.mark.parametrize("degrees", [0, 20])
def test_skipping_classes_changes_no_label(degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = centred((13, 14, 15), (1.5, 1.5, 1.5), np.eye(4))
    scan = centred((11, 24, 22), (1.0, 0.9, 2.0), turned(degrees, 1))
    scores = random_scores(model.shape, 6)
    monkeypatch.setattr(resampling, "_CHUNK", 700)  # one or two slices at a time
    labels = to_input_grid_labels(scores, model_geometry=model, input_geometry=scan)
    sampler = make_sampler(model, scan)
    whole = ((0, 0, 0), scan.shape)
    naive = torch.stack([sampler.sample(channel, whole) for channel in scores]).argmax(0)
    naive[~sampler.inside(whole)] = 0
    assert np.array_equal(labels, naive.numpy())
    assert len(np.unique(labels)) >= 4


def test_a_class_that_is_second_on_both_sides_wins_between_two_rivals() -> None:
    # Along i: class 1 is first on the left, class 2 on the right, class 3 always second.
    scores = torch.tensor([[0.0, 0.0], [0.6, 0.0], [0.0, 0.6], [0.4, 0.4]]).reshape(4, 1, 1, 2)
    model = Geometry((1, 1, 2), np.diag([2.0, 1.0, 1.0, 1.0]))
    scan = Geometry((1, 1, 3), np.eye(4))
    labels = to_input_grid_labels(scores, model_geometry=model, input_geometry=scan)
    assert labels.ravel().tolist() == [1, 3, 2]


def test_a_tie_goes_to_the_lower_class() -> None:
    scores = torch.full((3, 2, 2, 2), 0.5)
    scores[0, :, :, 1] = 0  # a tie of all three on the left, of the foreground on the right
    geometry = Geometry((2, 2, 2), np.eye(4))
    finer = Geometry((4, 4, 4), np.diag([0.5, 0.5, 0.5, 1.0]))
    for target in (geometry, finer):
        labels = to_input_grid_labels(scores, model_geometry=geometry, input_geometry=target)
        half = labels.shape[2] // 2
        assert (labels[:, :, :half] <= 1).all()
        assert (labels[:, :, 0] == 0).all()
        assert (labels[:, :, half:] == 1).all()


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_outside_of_a_cropped_model_grid_is_background(factor: float) -> None:
    scan = Geometry((6, 8, 10), np.diag([-1.0, 1.0, 1.0, 1.0]))
    crop = canonical_geometry(scan.crop((1, 2, 3), (5, 6, 9)))
    _, model = to_model_grid(
        Volume(np.zeros(crop.shape, np.float32), crop, "crop"), spacing=(factor, factor, factor)
    )
    scores = torch.stack([torch.zeros(model.shape), torch.ones(model.shape)])
    labels = to_input_grid_labels(scores, model_geometry=model, input_geometry=scan)
    expected = np.zeros((6, 8, 10), np.uint8)
    expected[1:5, 2:6, 3:9] = 1
    assert np.array_equal(labels, expected)
    scalar = to_input_grid_scalar(
        np.ones(model.shape, np.float32), model_geometry=model, input_geometry=scan, outside=-1
    )
    assert np.array_equal(scalar, np.where(expected == 1, 1, -1))


def test_a_model_grid_larger_than_the_scan_is_cut_to_it() -> None:
    scan = Geometry((3, 4, 5), np.eye(4))
    matrix = np.eye(4)
    matrix[:3, 3] = (-2, -1, -3)
    labels = np.arange(8 * 8 * 9).reshape(8, 8, 9) % 3
    found = to_input_grid_labels(
        one_hot(labels, 3), model_geometry=Geometry((8, 8, 9), matrix), input_geometry=scan
    )
    assert np.array_equal(found, labels[3:6, 1:5, 2:7])


def test_more_than_256_classes_are_uint16() -> None:
    scores = torch.zeros(300, 1, 1, 1)
    scores[299] = 1
    geometry = Geometry((1, 1, 1), np.eye(4))
    labels = to_input_grid_labels(scores, model_geometry=geometry, input_geometry=geometry)
    assert labels.dtype == np.uint16
    assert labels[0, 0, 0] == 299


def test_scores_of_another_shape_are_refused() -> None:
    geometry = Geometry((2, 2, 2), np.eye(4))
    with pytest.raises(GeometryError, match=r"\(2, 2, 3\) does not fit"):
        to_input_grid_labels(
            torch.zeros(2, 2, 2, 3), model_geometry=geometry, input_geometry=geometry
        )


def test_a_grid_too_large_to_hold_is_refused_with_its_size() -> None:
    volume = Volume(np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), np.eye(4) * 1e3), "scan")
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


def test_parallel_grids_are_sampled_along_axes_and_turned_ones_point_by_point() -> None:
    straight = Geometry((4, 5, 6), np.eye(4))
    swapped = canonical_axes(Geometry((6, 5, 4), np.eye(4)[[2, 1, 0, 3]])).geometry(straight)
    assert isinstance(make_sampler(straight, swapped), AxisSampler)
    assert isinstance(make_sampler(straight, Geometry((4, 5, 6), turned(0.1, 2))), ObliqueSampler)


@pytest.mark.parametrize("degrees", [0, 15])
def test_a_part_is_sampled_to_the_same_bits_as_the_whole(degrees: float) -> None:
    source = centred((9, 10, 11), (1.0, 1.3, 0.7), turned(degrees, 2))
    target = centred((12, 11, 10), (0.8, 0.8, 0.8), np.eye(4))
    channel = torch.rand(source.shape, generator=torch.Generator().manual_seed(0))
    sampler = make_sampler(source, target)
    whole = sampler.sample(channel, ((0, 0, 0), target.shape))
    part = sampler.sample(channel, ((3, 2, 1), (7, 9, 8)))
    assert torch.equal(part, whole[3:7, 2:9, 1:8])


def test_slabs_tile_the_volume() -> None:
    boxes = resampling.chunks((10, 3, 4), limit=36)
    assert [(a[0], b[0]) for a, b in boxes] == [(0, 3), (3, 6), (6, 9), (9, 10)]


def test_only_what_differs_in_spacing_is_smoothed() -> None:
    source, target = Geometry((8, 8, 8), np.eye(4)), Geometry((8, 4, 2), np.diag([4.0, 2, 1, 1]))
    assert grids._antialiasing(source, target) == (0.0, 0.5, 1.5)
