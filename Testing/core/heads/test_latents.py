"""Latent codes: which feature a point takes, and where it says the point lies."""

import pytest
import torch

from MorseCore.heads.parts.fourier import sinusoids
from MorseCore.heads.parts.latents import LatentCodes, code_length
from MorseCore.points import grid_coords, pixel_axes


def numbered(*size: int) -> torch.Tensor:
    """A map (1, 1, *size) whose feature is the flat index of the pixel."""
    return torch.arange(torch.Size(size).numel(), dtype=torch.float32).view(1, 1, *size)


def test_a_point_takes_the_nearest_feature_unchanged_up_to_the_border_of_the_cell():
    codes = LatentCodes([numbered(1, 2)])  # two cells, beside each other in x
    coords = torch.tensor([[[-0.99, 0.0], [-0.5, 0.0], [-0.01, 0.0], [0.01, 0.0]]])
    assert codes(coords)[0, :, -1].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_relative_coordinates_are_scaled_by_the_size_of_their_own_axis():
    codes = LatentCodes([numbered(2, 4)])  # 2 rows, 4 columns: cells are 0.5 wide, 1 high
    point = torch.tensor([[[-0.75 + 0.125, -0.5 + 0.1]]])  # from the centre of the first cell
    assert codes(point)[0, 0].tolist() == pytest.approx([0.5, 0.2, 0.0])


def test_relative_coordinates_have_x_first_in_3d_too():
    codes = LatentCodes([numbered(2, 4, 8)])
    # Cell (z 1, y 2, x 5), half-way to its border along x, a quarter along y, not at all along z.
    centre = torch.tensor([11 / 8 - 1, 5 / 4 - 1, 3 / 2 - 1])
    point = centre + torch.tensor([0.5 / 8, 0.25 / 4, 0.0])
    found = codes(point.view(1, 1, 3))[0, 0].tolist()
    assert found == pytest.approx([0.5, 0.25, 0.0, 1 * 32 + 2 * 8 + 5], abs=1e-5)


def test_every_level_counts_from_its_own_cell():
    codes = LatentCodes([numbered(1, 1), numbered(2, 2)])
    point = torch.tensor([[[0.75, -0.25]]])
    assert codes(point)[0, 0].tolist() == pytest.approx([0.75, -0.25, 0.0, 0.5, 0.5, 1.0])


def test_a_level_that_is_the_grid_has_no_relative_coordinates():
    coords = grid_coords(pixel_axes((4, 6)))
    code = LatentCodes([numbered(2, 3), numbered(4, 6)])(coords)
    assert code[0, :, 3:5].abs().max() < 1e-6
    assert torch.allclose(code[0, :, :2].abs(), torch.full((24, 2), 0.5), atol=1e-6)


def test_each_image_of_a_batch_has_its_own_features():
    maps = torch.cat([numbered(2, 2), 10 + numbered(2, 2)])
    coords = grid_coords(pixel_axes((2, 2))).expand(2, -1, -1)
    assert LatentCodes([maps])(coords)[..., -1].tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]]


def test_sinusoids_have_frequencies_from_1_to_64_and_no_pi():
    found = sinusoids(torch.tensor([[0.5]]), 3)[0]
    phase = torch.tensor([0.5, 4.0, 32.0])
    assert torch.allclose(found, torch.cat([phase.sin(), phase.cos()]), atol=1e-5)


@pytest.mark.parametrize("encoding", ["none", "ultra_pe"])
def test_the_length_of_a_code_is_known_beforehand(encoding):
    codes = LatentCodes([numbered(2, 2), numbered(4, 4)], encoding=encoding, frequencies=6)
    length = code_length(2, 1, spatial_dims=2, encoding=encoding, frequencies=6)
    assert codes(torch.zeros(1, 1, 2)).shape[-1] == length
    assert length == (2 * (2 + 1) if encoding == "none" else 2 * (2 + 24 + 1))


def test_the_neighbours_of_an_ensemble_are_all_heard():
    # In the released code the last one alone survives.
    codes = LatentCodes([numbered(2, 2)], ensemble="mean")
    point = torch.tensor([[[0.1, -0.1]]])
    code = codes(point)
    assert code[0, :, -1].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert codes.combine(code[..., -1:], point).item() == 1.5


def test_area_weights_of_one_level_are_those_of_linear_interpolation():
    codes = LatentCodes([numbered(2, 2)], ensemble="area")
    point = torch.tensor([[[0.1, -0.3]]])  # 0.6 of a cell from the first column, 0.2 from the row
    assert codes.combine(codes(point)[..., -1:], point).item() == pytest.approx(0.6 + 2 * 0.2)


@pytest.mark.parametrize(("ensemble", "jump"), [("none", True), ("mean", True), ("area", False)])
def test_an_ensemble_by_area_answers_continuously_on_one_level(ensemble, jump):
    torch.manual_seed(0)
    codes = LatentCodes([torch.randn(1, 3, 4, 4, dtype=torch.float64)], ensemble=ensemble)
    x = torch.linspace(-1.2, 1.2, 4001, dtype=torch.float64)
    coords = torch.stack([x, 0.3 * x], dim=-1)[None]
    values = codes.combine(codes(coords).tanh().cumsum(-1).square(), coords)  # "a decoder"
    steps = values[0].diff(dim=0).abs().max()
    assert (steps > 0.1) == jump


def test_area_weights_of_several_levels_sum_to_one():
    codes = LatentCodes([numbered(2, 2), numbered(4, 6)], ensemble="area")
    coords = torch.rand(1, 50, 2) * 2.4 - 1.2
    ones = torch.ones_like(codes(coords)[..., :1])
    assert torch.allclose(codes.combine(ones, coords), torch.ones(1, 50, 1))


def test_a_point_beyond_the_border_takes_the_outermost_cell():
    codes = LatentCodes([numbered(2, 2)], ensemble="area")
    point = torch.tensor([[[1.3, -1.3]]])
    assert codes.combine(codes(point)[..., -1:], point).item() == pytest.approx(1.0)
