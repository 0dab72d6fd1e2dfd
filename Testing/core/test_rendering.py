"""Positional encoding, rendering head, renderers and samplers."""

import math

import pytest
import torch
from networks import TINY_MORSE, Disc, make_image, make_network

from MorseCore.errors import ConfigError
from MorseCore.heads.fourier import FourierEncoding
from MorseCore.points import coords_to_index, gather_points, margin, pixel_axes
from MorseCore.renderers import DenseConfig, RefineConfig
from MorseCore.samplers import UncertainConfig, select_uncertain_points


def test_the_encoding_is_equation_3_with_trained_frequencies():
    encoding = FourierEncoding(2, 1)
    with torch.no_grad():
        encoding.frequencies.copy_(torch.tensor([[0.25], [0.0]]))
    encoded = encoding(torch.tensor([[[1.0, 0.3]]]))  # 2 pi * 0.25 * 1 = a quarter turn
    assert encoded.flatten().tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    encoded.sum().backward()
    assert encoding.frequencies.grad is not None


def test_the_frequencies_start_as_a_gaussian_of_the_given_width():
    torch.manual_seed(0)
    frequencies = FourierEncoding(3, 4000, sigma=2.0).frequencies
    assert frequencies.mean().item() == pytest.approx(0.0, abs=0.1)
    assert frequencies.std().item() == pytest.approx(2.0, abs=0.1)


def test_the_position_of_a_point_changes_what_is_rendered_there():
    network = make_network("unet3d", TINY_MORSE)
    render = network.head.render
    features, coarse = torch.randn(1, 1, 8), torch.randn(1, 1, 3)
    here, there = (render(torch.full((1, 1, 3), x), features, coarse) for x in (0.1, 0.5))
    assert not torch.allclose(here, there)


def test_a_residual_head_starts_near_the_identity_and_the_papers_does_not():
    for residual in (True, False):
        network = make_network("unet3d", TINY_MORSE | {"residual": residual})
        torch.nn.init.normal_(network.head.render.predict.weight, std=0.001)
        torch.nn.init.zeros_(network.head.render.predict.bias)
        field = network(make_image(3))
        coords = torch.rand(2, 30, 3) * 2 - 1
        near = torch.allclose(field.coarse(coords), field.logits(coords), atol=0.05)
        assert near == residual


@pytest.mark.parametrize("dims", [2, 3])
def test_refining_all_points_equals_rendering_densely(dims):
    field = make_network("unet" if dims == 2 else "unet3d", dims=dims)(make_image(dims))
    refined = RefineConfig(points=10**6, passes=1).build().render(field).refined
    assert torch.allclose(refined, DenseConfig().build().render(field).refined, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_refinement_changes_the_chosen_pixels_and_no_others(dims):
    field = make_network("unet" if dims == 2 else "unet3d", dims=dims)(make_image(dims))
    result = RefineConfig(points=11, passes=1).build().render(field)
    changed = (result.refined != result.coarse).any(1).flatten(1)
    for n in range(2):
        assert set(changed[n].nonzero()[:, 0].tolist()) == set(result.index[n].tolist())


def test_the_most_uncertain_pixels_are_rendered():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=7, passes=1).build().render(field)
    uncertainty = margin(result.coarse.flatten(2), dim=1)
    chosen = uncertainty.gather(1, result.index)
    rest = uncertainty.scatter(1, result.index, float("-inf"))
    assert (chosen.min(1).values >= rest.max(1).values).all()


def test_the_second_pass_leaves_out_what_the_first_rendered():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=20, passes=3).build().render(field)
    assert all(len(set(row.tolist())) == 60 for row in result.index)


def test_more_points_than_pixels_render_every_pixel_once():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=100, passes=5).build().render(field)
    assert sorted(result.index[0].tolist()) == list(range(8 * 16))


def test_no_passes_leave_the_coarse_mask():
    result = RefineConfig(passes=0).build().render(Disc())
    assert torch.equal(result.refined, result.coarse)
    assert result.index.shape == (1, 0)


def test_refinement_finds_the_true_boundary_when_the_coarse_mask_is_too_small():
    truth = Disc().query_grid(pixel_axes((32, 32)), rendered=True).max(1).indices
    result = RefineConfig(points=300, passes=1).build().render(Disc())
    assert torch.equal(result.refined.max(1).indices, truth)
    assert not torch.equal(result.coarse.max(1).indices, truth)


def test_a_finer_grid_asks_the_field_between_its_pixels():
    result = RefineConfig(points=10**6, passes=1).build().render(Disc(), pixel_axes((128, 128)))
    area = (result.refined.max(1).indices.sum() / 128**2 * 4).item()
    assert area == pytest.approx(math.pi * 0.6**2, rel=0.005)


def test_a_coarse_stride_approximates_the_coarse_map_but_not_the_points():
    field = make_network("unet", dims=2)(make_image(2))
    exact = RefineConfig(points=10, passes=1).build().render(field)
    strided = RefineConfig(points=10, passes=1, coarse_stride=2).build().render(field)
    assert not torch.allclose(strided.coarse, exact.coarse)
    dense = DenseConfig().build().render(field).refined
    points = gather_points(strided.refined, strided.index)
    assert torch.allclose(points, gather_points(dense, strided.index), atol=1e-5)


def test_of_the_candidates_the_most_uncertain_are_kept_and_the_rest_is_drawn_from_the_others():
    uncertainty = torch.tensor([[-5.0, -1.0, -4.0, -2.0, -3.0, -6.0]])
    generator = torch.Generator().manual_seed(0)
    chosen = select_uncertain_points(uncertainty, 2, num_random=3, generator=generator)[0].tolist()
    assert chosen[:2] == [1, 3]
    assert len(set(chosen)) == 5


def test_random_points_are_drawn_from_all_remaining_candidates():
    seen = set()
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        chosen = select_uncertain_points(
            -torch.arange(6.0)[None], 2, num_random=1, generator=generator
        )
        seen.add(int(chosen[0, 2]))
    assert seen == {2, 3, 4, 5}


@pytest.mark.parametrize("continuous", [False, True])
def test_three_quarters_of_the_training_points_lie_where_the_network_is_unsure(continuous):
    config = UncertainConfig(points=64, oversample=10, continuous=continuous)
    field = Disc()
    coarse, axes = field.coarse_grid(field.pixels()), field.pixels()
    generator = torch.Generator().manual_seed(0)
    coords = config.build().select(field, coarse, axes, generator=generator)
    assert coords.shape == (1, 64, 2)
    distance = (coords.norm(dim=-1) - 0.5).abs()[0]
    assert distance[:48].max() < 0.12  # the coarse boundary is at 0.5
    assert distance[48:].max() > 0.3


def test_training_points_on_pixels_are_pixel_centres_without_repetition():
    field = Disc()
    coords = (
        UncertainConfig(points=200)
        .build()
        .select(field, field.coarse_grid(field.pixels()), field.pixels())
    )
    index = coords_to_index(coords, field.size)
    assert len(set(index[0].tolist())) == 200
    steps = (coords + 1) * 16 - 0.5
    assert torch.allclose(steps, steps.round(), atol=1e-4)


def test_impossible_numbers_are_refused_by_name():
    for arguments, name in (
        ({"points": 0}, "points"),
        ({"oversample": 0.5}, "oversample"),
        ({"importance": 2}, "importance"),
    ):
        with pytest.raises(ConfigError, match=name):
            UncertainConfig(**arguments)
    with pytest.raises(ConfigError, match="coarse_stride"):
        RefineConfig(coarse_stride=0)


def test_a_part_of_the_image_is_rendered_as_in_the_whole():
    field = make_network("unet", dims=2)(make_image(2, batch=1))
    rows, columns = field.pixels()
    whole = DenseConfig().build().render(field)
    part = DenseConfig().build().render(field, (rows[2:5], columns[3:11]))
    assert torch.allclose(part.refined, whole.refined[..., 2:5, 3:11], atol=1e-5)
    strided = RefineConfig(points=0, coarse_stride=2).build().render(field, (rows[2:6], columns))
    assert strided.coarse.shape == (1, 3, 4, 16)
