"""From the model's grid back to the scan's: labels, whatever the classes and the size."""

import numpy as np
import pytest
import torch

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images import resampling
from MorseCore.images.grids import canonical_geometry, to_model_grid
from MorseCore.images.imageio import Volume
from MorseCore.images.inverse_resampling import to_input_grid_labels, to_input_grid_scalar
from MorseCore.images.resampling import make_interpolator
from turned_grids import centred, one_hot, turned


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
    sampler = make_interpolator(model, scan)
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
