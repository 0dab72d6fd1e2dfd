"""Points drawn before training: where they lie in the source, and in the crops."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from MorseCore.points import labels_at
from MorseCore.samplers import PrecomputedConfig
from MorseCore.training.augmentation import AugmentationConfig
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.presampling import draw_points, points_in_crop
from MorseCore.training.samples import CropDataset, Minibatch
from oracles import ball
from training_runs import flat_config, losses_of, make_trainer, phantom_cases


def labels_of(dims: int) -> np.ndarray:
    """A large ball and a small one that touches it, class 1 and 2; sides all different."""
    size = (48, 56, 64)[:dims]
    labels = np.zeros(size, np.uint8)
    labels[ball(size, 20, (22, 24, 30)[:dims]).numpy()] = 1
    labels[ball(size, 6, (36, 44, 30)[:dims]).numpy()] = 2
    return labels


def source_labels(labels: np.ndarray, points: torch.Tensor) -> np.ndarray:
    return labels_at(torch.from_numpy(labels.astype(np.int64))[None], points[None])[0].numpy()


def positions(points: torch.Tensor, size: tuple[int, ...]) -> np.ndarray:
    """In voxels, array order."""
    return ((points.double().numpy()[:, ::-1] + 1) / 2) * size


@pytest.mark.parametrize("dims", [2, 3])
def test_every_class_gets_its_number_and_the_background_its_own(dims):
    config = PrecomputedConfig(per_class=150, background=400)
    points = draw_points(labels_of(dims), config, seed=1)
    assert points.dtype == torch.float32
    assert Counter(source_labels(labels_of(dims), points).tolist()) == {0: 400, 1: 150, 2: 150}


def test_a_class_that_an_image_lacks_has_no_points():
    labels = labels_of(2)
    labels[labels == 1] = 0
    points = draw_points(labels, PrecomputedConfig(per_class=10, background=0), seed=1)
    assert Counter(source_labels(labels, points).tolist()) == {2: 10}


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_asked_share_lies_near_the_boundary_of_its_class(dims, share):
    config = PrecomputedConfig(per_class=200, background=100, near_share=share, near_distance=4)
    labels = labels_of(dims)
    points = draw_points(labels, config, seed=1)
    classes = source_labels(labels, points)
    voxels = tuple(positions(points, labels.shape).astype(int).T)
    for value, count in ((0, 100), (1, 200)):
        depth = ndimage.distance_transform_edt(labels == value)[voxels][classes == value]
        assert np.sum(depth - 0.5 <= 4) == round(share * count)


def test_the_border_of_the_image_is_no_boundary():
    points = draw_points(np.zeros((30, 30), np.uint8), PrecomputedConfig(), seed=1)
    assert len(points) == 4000


@pytest.mark.parametrize("dims", [2, 3])
def test_a_class_that_is_a_box_gets_one_latin_hypercube(dims):
    """In each axis each of P strata holds one point; P independent draws leave a third empty."""
    labels = np.zeros((20, 30, 16)[:dims], np.uint8)
    low, high = np.array([3, 5, 2])[:dims], np.array([11, 28, 12])[:dims]
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    config = PrecomputedConfig(per_class=50, background=0, near_distance=0.4)  # nothing is near
    strata = (positions(draw_points(labels, config, seed=3), labels.shape) - low) / (high - low)
    for axis in (strata * 50).T:
        assert sorted(np.floor(axis).astype(int)) == list(range(50))


def test_points_spread_over_a_region_that_is_no_box():
    labels = ball((64, 64), 30, (32, 32)).numpy().astype(np.uint8)
    config = PrecomputedConfig(per_class=4000, background=0, near_distance=100)
    where = positions(draw_points(labels, config, seed=1), (64, 64)) - 32.5
    quadrants = Counter(map(tuple, (where > 0).tolist()))
    assert all(count == pytest.approx(1000, abs=60) for count in quadrants.values())
    inner = np.hypot(*where.T) < 30 / np.sqrt(2)  # half of the area
    assert inner.mean() == pytest.approx(0.5, abs=0.02)


def test_a_thread_across_the_image_gets_all_its_points():
    labels = np.zeros((120, 120, 120), np.uint8)
    labels[(np.arange(120),) * 3] = 1  # from corner to corner: 120 of 1.7 million voxels
    points = draw_points(labels, PrecomputedConfig(per_class=500, background=0), seed=1)
    assert source_labels(labels, points).tolist() == [1] * 500
    fractions = positions(points, labels.shape) % 1
    assert 0.2 < fractions.std() < 0.4  # anywhere in the voxel


def test_the_points_depend_on_the_seed_alone():
    a, b, c = (draw_points(labels_of(2), PrecomputedConfig(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def in_crop(points: torch.Tensor, count: int, scale: float = 0.5) -> torch.Tensor:
    """A crop of the middle of the source, that many times smaller."""
    to_source = torch.tensor([[scale, 0.0, 0.0], [0.0, scale, 0.0]])
    return points_in_crop(
        points, to_source, count=count, generator=torch.Generator().manual_seed(1)
    )


def test_enough_points_are_drawn_without_repetition_from_those_in_the_crop():
    points = torch.rand(400, 2) * 2 - 1
    drawn = in_crop(points, 30) * 0.5
    distance = torch.cdist(drawn.double(), points.double()).min(1)
    assert distance.values.max() < 1e-5
    assert len(set(distance.indices.tolist())) == 30


def test_too_few_points_are_all_taken_and_the_rest_is_drawn_in_the_whole_crop():
    points = torch.tensor([[0.1, 0.2], [-0.3, 0.4], [0.9, 0.9]])
    drawn = in_crop(points, 500)
    assert drawn.shape == (500, 2)
    assert torch.allclose(drawn[:2].sort(0).values, 2 * points[:2].sort(0).values)
    rest = drawn[2:]
    assert (rest.min(), rest.max()) == (pytest.approx(-1, abs=0.02), pytest.approx(1, abs=0.02))
    assert len(rest.unique(dim=0)) == 498


def crops(dims: int, **options: object) -> CropDataset:
    """Crops of :func:`labels_of`, turned, scaled and mirrored; in 2D of slices of different
    contents."""
    labels = labels_of(dims)
    if dims == 2:
        labels = np.stack([labels, labels[::-1, ::-1]])
    image = labels.astype(np.float32)
    stirred = AugmentationConfig(
        rotation_probability=1, rotation_degrees=(180.0,), scale_probability=1,
        mirror_axes=(0, 1, 2)[:dims],
    )  # fmt: skip
    case = PreparedCase("a", image, labels, (1.5, 1.0, 0.8))
    settings = {
        "augmentation": stirred, "length": 20, "seed": 5, "oversample": 0.5,
        "presample": PrecomputedConfig(points=300, per_class=3000, background=6000),
    }  # fmt: skip
    return CropDataset([case], (24, 32, 40)[:dims], **(settings | options))  # type: ignore[arg-type]


def surroundings(labels: np.ndarray) -> np.ndarray:
    """The label, or 255 where another one is nearer than three voxels."""
    low, high = (f(labels, size=7) for f in (ndimage.minimum_filter, ndimage.maximum_filter))
    return np.where(low == high, labels, 255)


@pytest.mark.parametrize("dims", [2, 3])
def test_points_stay_on_their_anatomy_when_the_crop_is_turned_scaled_and_mirrored(dims):
    data = crops(dims)
    sources = [labels_of(dims)]
    if dims == 2:
        sources.append(np.ascontiguousarray(sources[0][::-1, ::-1]))
    clear = [surroundings(labels) for labels in sources]
    checked: Counter[int] = Counter()
    for n in range(12):
        _, target, to_source, points, *_ = data[n]
        back = points @ to_source[:, :-1].T + to_source[:, -1]
        found = labels_at(target[None], points[None])[0].numpy()
        fits = []
        for truth, drawn in zip(clear, data._points, strict=True):  # in 2D one of two slices
            expected = source_labels(truth, back)
            counts = expected != 255
            is_from_here = torch.cdist(back.double(), drawn.double()).min(1).values.max() < 1e-5
            fits.append(bool(is_from_here and (found[counts] == expected[counts]).all()))
        assert fits.count(True) == 1
        checked.update(found.tolist())
    assert min(checked[value] for value in (0, 1, 2)) > 30


def test_a_sample_with_points_does_not_depend_on_what_was_drawn_before():
    forwards = [crops(2)[n] for n in range(4)]
    data = crops(2)
    for n in reversed(range(4)):
        assert all(torch.equal(a, b) for a, b in zip(data[n], forwards[n], strict=True))
    assert not any(torch.equal(a.points, b.points) for a, b in pairwise(forwards))


def test_points_change_nothing_else_of_a_sample():
    with_points, without = crops(2), crops(2, presample=None)
    assert torch.equal(with_points[1].image, without[1].image)
    assert torch.equal(with_points[1].to_source, without[1].to_source)
    assert without[1].points.shape == (0, 2)
    batch = Minibatch(*(part[None] for part in without[1]))
    assert batch.targets.points is None


def test_a_run_is_trained_at_points_drawn_before(tmp_path: Path):
    sampler = {"name": "precomputed", "points": 40, "per_class": 100, "background": 100}
    config = flat_config(
        sampler=sampler, optimisation={"iterations": 2, "batch_size": 2, "schedule": "from_scratch"}
    )
    for name in ("a", "b"):
        trainer = make_trainer(config, tmp_path / name, train=phantom_cases(0, 1, dims=2))
        assert trainer.run()
    assert len(losses_of(tmp_path / "a")) == 2
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b")
