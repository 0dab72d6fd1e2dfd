"""A scan in, a segmentation out: the same in every orientation, region and resolution."""

import importlib.util
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cli_client import SHAPE, phantom_volume
from MorseCore.errors import Cancelled, ConfigError, ModelError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import Roi, parse_roi
from MorseCore.inference.assembly import finer
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.report import modality_warning, view_warning
from MorseCore.store.library import find_model
from MorseCore.training.phantoms import make_phantom
from template import REGIONS, load_template


def turn(array: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> np.ndarray:
    """Turn an array by right angles."""
    return np.flip(array.transpose(order), [axis for axis in range(3) if flips[axis]])


def turned_volume(order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The phantom where it is, its voxels stored in another order."""
    whole = phantom_volume()
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis in range(3):  # of the new array; matrix axes run the other way
        old = 2 - order[axis]
        matrix[old, 2 - axis] = -1 if flips[axis] else 1
        matrix[old, 3] = SHAPE[0] - 1 if flips[axis] else 0
    array = np.ascontiguousarray(turn(whole.array, order, flips))
    return Volume(array, Geometry(SHAPE, matrix), "turned")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def upright(predictor):
    return predictor.segment(phantom_volume())


TURNS = [
    ((0, 1, 2), (False, True, True)),  # LPS, as most CTs
    ((0, 1, 2), (True, False, False)),
    ((1, 0, 2), (True, False, False)),  # coronal
    ((2, 1, 0), (True, False, True)),  # sagittal
    ((1, 2, 0), (False, True, False)),
]


def test_the_phantom_is_found(upright) -> None:
    _, labels = make_phantom(35, shape=SHAPE)
    for value in (1, 2):
        assert dice(upright.refined == value, labels == value) > 0.85


@pytest.mark.parametrize(("order", "flips"), TURNS)
def test_the_order_of_the_voxels_in_the_file_does_not_matter(
    predictor, upright, order: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    result = predictor.segment(turned_volume(order, flips))
    for name in ("coarse", "refined", "uncertainty"):
        expected = turn(getattr(upright, name), order, flips)
        np.testing.assert_array_equal(getattr(result, name), expected)
    np.testing.assert_allclose(result.points.positions, upright.points.positions, atol=1e-9)


def test_a_tilted_anisotropic_scan_is_segmented_where_it_lies(predictor) -> None:
    # The phantom's space, scanned along tilted axes with other voxels.
    a = np.radians(12.0)
    matrix = np.eye(4)
    turn_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    matrix[:3, :3] = turn_s * [0.8, 0.8, 1.2]
    shape = (20, 30, 30)
    matrix[:3, 3] = 11.5 - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    geometry = Geometry(shape, matrix)
    world = geometry.to_world(np.argwhere(np.ones(shape))[:, ::-1])
    sample = importlib.import_module("scipy.ndimage").map_coordinates
    image, labels = make_phantom(35, shape=SHAPE)
    place = world[:, ::-1].T
    scan = sample(image, place, order=1, mode="nearest").reshape(shape)
    truth = sample(labels, place, order=0, mode="nearest").reshape(shape)
    result = predictor.segment(Volume(scan.astype(np.float32), geometry, "tilted"))
    assert result.refined.shape == shape
    assert dice(result.refined == 1, truth == 1) > 0.85
    assert dice(result.refined == 2, truth == 2) > 0.6  # three voxels wide, interpolated twice
    continuous = geometry.to_index(result.points.positions)
    assert (continuous >= -0.5 - 1e-6).all()  # no points beside the scan
    assert (continuous <= np.array(shape[::-1]) - 0.5 + 1e-6).all()


def test_a_region_is_segmented_as_the_cropped_scan_and_nothing_outside(predictor) -> None:
    volume = phantom_volume()
    start, stop = (3, 2, 4), (21, 20, 23)
    roi = parse_roi("ijk:4,23,2,20,3,21")
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    cropped = Volume(volume.array[inside], volume.geometry.crop(start, stop), "cropped")
    result, expected = (
        predictor.segment(volume, PredictOptions(roi=roi)),
        predictor.segment(cropped),
    )
    for name in ("coarse", "refined", "uncertainty"):
        values = getattr(result, name).copy()
        np.testing.assert_array_equal(values[inside], getattr(expected, name))
        values[inside] = 0
        assert not values.any()
    assert (expected.refined > 0).any()
    np.testing.assert_allclose(result.points.positions, expected.points.positions, atol=1e-9)
    np.testing.assert_array_equal(
        result.points.indices, expected.points.indices + np.array(start[::-1])
    )


def test_a_finer_region_lies_where_the_region_is(predictor) -> None:
    roi = Roi((4, 2, 3), (23, 20, 21), "ijk")
    result = predictor.segment(phantom_volume(), PredictOptions(roi=roi, scale=2))
    assert result.refined.shape == (48, 48, 48)
    coarse = predictor.segment(phantom_volume(), PredictOptions(roi=roi))
    for value in (1, 2):
        places = [
            r.geometry.to_world(np.argwhere(r.refined == value)[:, ::-1]).mean(axis=0)
            for r in (coarse, result)
        ]
        np.testing.assert_allclose(*places, atol=0.25)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_finer_grid_has_the_same_outer_faces(dims: int) -> None:
    geometry = Geometry((3, 4, 5), np.array([[0, 0, 2.5, 7], [-0.5, 0, 0, 1], [0, 0.7, 0, 2],
                                             [0, 0, 0, 1.0]]))  # fmt: skip
    fine = finer(geometry, 2, dims)
    assert fine.shape == ((6 if dims == 3 else 3), 8, 10)
    low, high = np.full(3, -0.5), np.array([4.5, 3.5, 2.5])
    ends = np.array(fine.shape[::-1]) - 0.5
    np.testing.assert_allclose(fine.to_world(low), geometry.to_world(low), atol=1e-12)
    np.testing.assert_allclose(fine.to_world(ends), geometry.to_world(high), atol=1e-12)


def test_a_twice_finer_mask_is_the_same_structure(predictor, upright) -> None:
    # Between its nodes a field is interpolated: a ball of 5 voxels' radius loses a few per cent.
    fine = predictor.segment(phantom_volume(), PredictOptions(scale=2))
    for before, after in zip(upright.report["structures"], fine.report["structures"], strict=True):
        assert after["refined_ml"] == pytest.approx(before["refined_ml"], rel=0.2)
        value = before["value"]
        repeated = (upright.refined == value).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        assert dice(fine.refined == value, repeated) > 0.85


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("nilearn") is None, reason="the brain comes with nilearn"
)
def test_a_twice_finer_hippocampus_has_its_volume_within_5_per_cent() -> None:
    predictor = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    one, two = (
        predictor.segment(load_template(), PredictOptions(roi=REGIONS["left"], scale=scale))
        for scale in (1, 2)
    )
    for a, b in zip(one.report["structures"], two.report["structures"], strict=True):
        assert b["refined_ml"] == pytest.approx(a["refined_ml"], rel=0.05)


def test_a_model_for_slices_segments_each_slice_by_itself(slice_predictor) -> None:
    slices = [make_phantom(seed, shape=(28, 28)) for seed in (100, 101, 102)]
    geometry = Geometry((3, 28, 28), np.diag([1.0, 1.0, 9.0, 1.0]))
    image = np.stack([image for image, _ in slices])
    options = PredictOptions(scale=2)
    result = slice_predictor.segment(Volume(image, geometry, "slices"), options)
    assert result.refined.shape == (3, 56, 56)  # slices are not multiplied
    plain = slice_predictor.segment(Volume(image, geometry, "slices"))
    truth = np.stack([labels for _, labels in slices])
    assert dice(plain.refined > 0, truth > 0) > 0.85
    assert set(plain.points.indices[:, 2]) == {0, 1, 2}


def test_progress_never_goes_back_and_ends_at_1(predictor) -> None:
    seen: list[tuple[str, float]] = []
    image = np.random.default_rng(0).standard_normal((30, 24, 30)).astype(np.float32)
    volume = Volume(image, Geometry(image.shape, np.eye(4)), "noise")
    predictor.segment(volume, progress=lambda stage, share: seen.append((stage, share)))
    stages = [stage for stage, _ in itertools.groupby(seen, key=lambda item: item[0])]
    assert stages == ["prepare", "network", "restore"]
    for stage in stages:
        shares = [share for name, share in seen if name == stage]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
    assert sum(stage == "network" for stage, _ in seen) == 4  # windows
    assert seen[-1] == ("restore", 1.0)


@pytest.mark.parametrize("after", [0, 1])
def test_asked_to_stop_it_is_cancelled(predictor, after: int) -> None:
    asked = iter([False] * after + [True] * 9)
    with pytest.raises(Cancelled):
        predictor.segment(phantom_volume(), should_stop=lambda: next(asked))


def test_no_passes_leave_the_coarse_mask(predictor, upright) -> None:
    result = predictor.segment(phantom_volume(), PredictOptions(passes=0))
    np.testing.assert_array_equal(result.refined, result.coarse)
    np.testing.assert_array_equal(result.coarse, upright.coarse)
    assert len(result.points) == 0
    assert result.report["points"]["rendered_voxels"] == 0


def test_what_the_points_changed_is_what_differs_between_the_masks(upright) -> None:
    changed = upright.points.take(upright.points.changed)
    found = {tuple(index) for index in changed.indices}
    differing = {tuple(index[::-1]) for index in np.argwhere(upright.coarse != upright.refined)}
    assert found == differing
    assert len(differing) > 0


def test_a_view_much_larger_than_in_training_is_warned_about(predictor, slice_predictor) -> None:
    def volume(shape: tuple[int, int, int]) -> Volume:
        return Volume(np.zeros(shape, np.float32), Geometry(shape, np.eye(4)), "x")

    assert "choose a region of interest" in view_warning(volume((28, 28, 80)), predictor.info)
    assert not view_warning(volume((28, 28, 28)), predictor.info)
    many_slices = volume((300, 28, 28))
    assert not view_warning(many_slices, slice_predictor.info)
    assert view_warning(volume((1, 80, 28)), slice_predictor.info)


def test_one_slice_for_a_model_of_volumes_is_warned_about(predictor) -> None:
    image, _ = make_phantom(100, shape=(28, 28))
    volume = Volume(image[None], Geometry((1, 28, 28), np.eye(4)), "a.png", ndim=2)
    result = predictor.segment(volume, PredictOptions(passes=0))
    assert result.report["warnings"] == [
        "'phantom-tiny' was trained on volumes; the image is one slice."
    ]


def test_an_answer_that_is_no_number_is_an_error_not_a_mask(predictor) -> None:
    weight = next(p for p in predictor.network.parameters() if p.ndim > 1)
    before = weight.data.clone()
    weight.data.fill_(float("inf"))
    try:
        with pytest.raises(ModelError, match="values that are not numbers"):
            predictor.segment(phantom_volume())
    finally:
        weight.data.copy_(before)


@pytest.mark.parametrize("wrong", [{"points": 0}, {"points": -1}, {"passes": -1}, {"scale": 5}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="found"):
        PredictOptions(**wrong)


def test_the_callers_own_draws_go_on_as_if_nothing_had_been_segmented(predictor) -> None:
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    predictor.segment(phantom_volume())
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize(("code", "warned"), [("CT", True), ("MR", False), ("", False)])
def test_an_image_of_another_modality_is_warned_about(code: str, warned: bool) -> None:
    predictor = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    volume = replace(phantom_volume(), modality=code)
    assert bool(modality_warning(volume, predictor.info)) == warned


def test_a_region_of_a_few_voxels_is_warned_about(predictor) -> None:
    region = Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 2), np.eye(4)), "x")
    assert "choose a larger region" in view_warning(region, predictor.info)
