"""Labels on a grid that is turned against the model's: fewer look-ups, the same labels."""

import numpy as np
import pytest
import torch

from MorseCore.geometry import Geometry
from MorseCore.images.inverse_resampling import to_input_grid_labels
from MorseCore.images.resampling import ObliqueInterpolator

MODEL = Geometry((20, 24, 22), np.diag([2.0, 2.0, 2.0, 1.0]))


def turned_scan(angle: float, shift: float) -> Geometry:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([0.8, 0.7, 1.3])
    matrix[:3, 3] = (-3 + shift, 5, -7)
    return Geometry((30, 40, 35), matrix)


def looked_up_everywhere(probabilities: torch.Tensor, scan: Geometry) -> np.ndarray:
    """Every class interpolated at every voxel."""
    sampler = ObliqueInterpolator(MODEL, scan)
    box = ((0, 0, 0), scan.shape)
    values = torch.stack([sampler.sample(channel, box) for channel in probabilities])
    return values.max(0).indices.masked_fill_(~sampler.inside(box), 0).numpy()


@pytest.mark.parametrize("classes", [2, 5, 33])
@pytest.mark.parametrize(("angle", "shift"), [(0.15, 0.0), (0.8, 3.0), (0.4, -20.0)])
def test_the_labels_are_those_of_interpolating_every_class_everywhere(
    classes: int, angle: float, shift: float
) -> None:
    torch.manual_seed(classes)
    rough = torch.randn(1, classes, 6, 7, 6) * 4
    smooth = torch.nn.functional.interpolate(rough, size=MODEL.shape, mode="trilinear")
    probabilities, scan = smooth[0].softmax(0), turned_scan(angle, shift)
    found = to_input_grid_labels(probabilities, model_geometry=MODEL, input_geometry=scan)
    expected = looked_up_everywhere(probabilities, scan)
    assert (found > 0).any()
    assert np.count_nonzero(found != expected) <= 2  # ties, to the last bit


def test_nothing_but_background_is_nothing(tmp_path: object) -> None:
    probabilities = torch.zeros(3, *MODEL.shape)
    probabilities[0] = 1
    scan = turned_scan(0.3, 0.0)
    found = to_input_grid_labels(probabilities, model_geometry=MODEL, input_geometry=scan)
    assert found.shape == scan.shape
    assert not found.any()


def test_a_grid_beside_the_models_is_background() -> None:
    probabilities = torch.zeros(2, *MODEL.shape)
    probabilities[1] = 1
    found = to_input_grid_labels(
        probabilities, model_geometry=MODEL, input_geometry=turned_scan(0.3, 500.0)
    )
    assert not found.any()
