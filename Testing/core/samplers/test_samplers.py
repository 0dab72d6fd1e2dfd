"""Samplers: which points a step of training asks."""

import pytest
import torch

from MorseCore.errors import ConfigError
from MorseCore.losses import Targets
from MorseCore.points import coords_to_index, grid_coords, labels_at, margin
from MorseCore.samplers import (
    SAMPLERS,
    AllPixelsConfig,
    CoarseGrid,
    PrecomputedConfig,
    StrideConfig,
    UncertainConfig,
)
from MorseCore.samplers.uncertain import near_boundary
from networks import Disc, make_image, make_network

UNLABELLED = Targets(torch.zeros(1, 32, 32, dtype=torch.long))  # of the disc; not looked at


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_rendering_head_is_trained_at_the_points_of_any_sampler(name, dims):
    network = make_network("unet3d", dims=dims).train()
    image = make_image(dims)
    labels = torch.randint(0, 3, (2, *image.shape[2:]))
    targets = Targets(labels, torch.rand(2, 20, dims) * 2 - 1)
    numbers = {"points": 20} if name in ("uncertain", "precomputed") else {}
    sampler = SAMPLERS.decode({"name": name, **numbers}, "").build()
    field = network(image)
    coords = sampler.select(field, targets, generator=torch.Generator().manual_seed(1))
    count = {"all": 8 * 16 * 24 ** (dims - 2), "stride": 2 * 4 * 6 ** (dims - 2)}.get(name, 20)
    assert coords.shape == (2, count, dims)
    assert coords.abs().max() <= 1
    losses = network.head.losses(field, targets, sampler=sampler, active=("rend",))
    assert torch.isfinite(losses["rend"])


@pytest.mark.parametrize("dims", [2, 3])
def test_all_pixels_are_asked_in_the_order_of_their_labels(dims):
    field = make_network("unet3d", "plain", dims=dims)(make_image(dims))
    labels = torch.arange(2 * 8 * 16 * 24 ** (dims - 2)).view(2, *field.size)
    coords = AllPixelsConfig().build().select(field, Targets(labels))
    assert torch.equal(labels_at(labels, coords), labels.flatten(1))


def test_all_means_all_even_where_the_coarse_logits_are_of_some():
    field = Disc()
    axes = [axis[::2] for axis in field.pixels()]
    some = CoarseGrid(field.coarse_grid(axes), axes)
    assert AllPixelsConfig().build().select(field, UNLABELLED, coarse=some).shape[1] == 32 * 32


def test_a_stride_of_four_is_the_pixel_in_the_middle_of_each_cell():
    coords = StrideConfig().build().select(Disc(), UNLABELLED)
    index = coords_to_index(coords, (32, 32))[0]
    assert index.tolist() == [32 * y + x for y in range(2, 32, 4) for x in range(2, 32, 4)]
    steps = (coords + 1) * 16 - 0.5
    assert torch.allclose(steps, steps.round(), atol=1e-4)  # pixel centres


def test_a_random_phase_reaches_every_pixel_and_a_fixed_one_does_not():
    for is_random, reached in ((True, 32 * 32), (False, 64)):
        sampler = StrideConfig(random_phase=is_random).build()
        generator = torch.Generator().manual_seed(0)
        seen: set[int] = set()
        for _ in range(150):
            coords = sampler.select(Disc(), UNLABELLED, generator=generator)
            assert coords.shape == (1, 64, 2)
            seen |= set(coords_to_index(coords, (32, 32))[0].tolist())
        assert len(seen) == reached


def test_a_stride_beyond_the_image_asks_its_middle():
    coords = StrideConfig(stride=100).build().select(Disc(), UNLABELLED)
    assert coords_to_index(coords, (32, 32)).tolist() == [[16 * 32 + 16]]


def test_precomputed_points_are_those_that_came_with_the_batch():
    points = torch.rand(1, 7, 2)
    sampler = PrecomputedConfig().build()
    assert sampler.select(Disc(), UNLABELLED._replace(points=points)) is points
    with pytest.raises(ConfigError, match="'precomputed' needs points"):
        sampler.select(Disc(), UNLABELLED)


def test_only_the_precomputed_sampler_asks_for_points_before_training():
    asking = [name for name in SAMPLERS if SAMPLERS.decode({"name": name}, "").presample]
    assert asking == ["precomputed"]
    assert PrecomputedConfig(points=7).presample == PrecomputedConfig(points=7)


def index_of(coords: torch.Tensor) -> list[int]:
    return coords_to_index(coords, (32, 32))[0].tolist()


def test_the_most_uncertain_candidates_come_first_and_no_pixel_twice():
    field = Disc()
    sampler = UncertainConfig(points=40, oversample=30, importance=0.5).build()  # every pixel
    chosen = index_of(sampler.select(field, UNLABELLED, generator=torch.Generator().manual_seed(0)))
    unsure = margin(field.coarse(grid_coords(field.pixels())))[0]
    assert len(set(chosen)) == 40
    least = min(unsure[place] for place in chosen[:20])
    assert int((unsure > least).sum()) < 20


@pytest.mark.parametrize("is_given", [False, True])
def test_the_random_share_is_uniform_over_all_remaining_pixels(is_given):
    """Rejected candidates alone would hold next to nothing of the uncertain ring."""
    field = Disc()
    sampler = UncertainConfig(points=64, oversample=2, importance=0.5).build()
    coarse = CoarseGrid(field.coarse_grid(field.pixels()), field.pixels()) if is_given else None
    unsure = margin(field.coarse(grid_coords(field.pixels())))[0]
    ring = set(unsure.topk(256).indices.tolist())  # the most uncertain quarter
    found = total = left = 0
    for seed in range(150):
        generator = torch.Generator().manual_seed(seed)
        chosen = index_of(sampler.select(field, UNLABELLED, coarse=coarse, generator=generator))
        found += len(ring.intersection(chosen[32:]))
        left += len(ring) - len(ring.intersection(chosen[:32]))
        total += 32
    assert found / total == pytest.approx(left / 150 / (1024 - 32), abs=0.03)


def test_continuous_points_lie_between_pixel_centres_and_the_rest_anywhere():
    sampler = UncertainConfig(points=200, importance=0.0, continuous=True).build()
    coords = sampler.select(Disc(), UNLABELLED, generator=torch.Generator().manual_seed(0))
    assert coords.shape == (1, 200, 2)
    steps = (coords + 1) * 16 - 0.5
    assert float((steps - steps.round()).abs().mean()) > 0.2
    assert coords.mean().abs() < 0.15


@pytest.mark.parametrize("continuous", [False, True])
def test_three_quarters_of_the_training_points_lie_where_the_network_is_unsure(continuous):
    config = UncertainConfig(points=64, oversample=10, continuous=continuous)
    field = Disc()
    coarse = CoarseGrid(field.coarse_grid(field.pixels()), field.pixels())
    generator = torch.Generator().manual_seed(0)
    coords = config.build().select(field, UNLABELLED, coarse=coarse, generator=generator)
    assert coords.shape == (1, 64, 2)
    distance = (coords.norm(dim=-1) - 0.5).abs()[0]
    assert distance[:48].max() < 0.12  # the coarse boundary is at 0.5
    assert distance[48:].max() > 0.3


def test_training_points_on_pixels_are_pixel_centres_without_repetition():
    field = Disc()
    coords = UncertainConfig(points=200).build().select(field, UNLABELLED)
    index = coords_to_index(coords, field.size)
    assert len(set(index[0].tolist())) == 200
    steps = (coords + 1) * 16 - 0.5
    assert torch.allclose(steps, steps.round(), atol=1e-4)


def test_impossible_numbers_are_refused_by_name():
    for config, arguments, name in (
        (UncertainConfig, {"points": 0}, "points"),
        (UncertainConfig, {"oversample": 0.5}, "oversample"),
        (UncertainConfig, {"importance": 2}, "importance"),
        (StrideConfig, {"stride": 0}, "stride"),
        (UncertainConfig, {"near_share": 1.1}, "near_share"),
        (UncertainConfig, {"near_distance": 0}, "near_distance"),
        (UncertainConfig, {"near_distance": 8.5}, "near_distance"),
        (PrecomputedConfig, {"points": 0}, "points"),
        (PrecomputedConfig, {"per_class": 0}, "per_class"),
        (PrecomputedConfig, {"background": -1}, "background"),
        (PrecomputedConfig, {"near_share": 1.1}, "near_share"),
        (PrecomputedConfig, {"near_distance": 0}, "near_distance"),
    ):
        with pytest.raises(ConfigError, match=f"'{name}'"):
            config(**arguments)


def square(size: int = 32) -> torch.Tensor:
    """Labels (1, 32, 32) of a square that touches the image's edge."""
    labels = torch.zeros(1, size, size, dtype=torch.long)
    labels[:, :10, 8:20] = 2
    return labels


def test_near_the_boundary_is_so_far_from_where_labels_meet_and_the_images_edge_is_none():
    near = near_boundary(square(), 2.0)[0]
    assert near[0, 6:10].all()
    assert near[0, 18:22].all()
    assert not near[0, 5]
    assert not near[0, 10:18].any()  # the label may go on above
    assert near[8:12, 14].all()
    assert not near[7, 14]
    assert not near[12, 14]
    assert near[11, 6:8].tolist() == [False, True]  # the corner is round: 2.5 from centre to centre
    assert not near_boundary(torch.ones(1, 9, 9), 8.0).any()
    volume = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    volume[:, 4, 4, 4] = 1
    distance = (torch.cartesian_prod(*[torch.arange(9)] * 3) - 4).pow(2).sum(1).view(9, 9, 9)
    assert torch.equal(near_boundary(volume, 2.0)[0], distance <= 6)
    assert torch.equal(near_boundary(volume, 0.5)[0], distance <= 1)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_share_of_the_points_lies_near_the_labels_boundary(continuous):
    sampler = UncertainConfig(
        points=80, oversample=3, importance=0.5, continuous=continuous, near_share=0.5
    ).build()
    field, labels = Disc(), square()
    axes = [axis[::2] for axis in field.pixels()]
    some = CoarseGrid(field.coarse_grid(axes), axes)  # the mask was supervised at a quarter of them
    generator = torch.Generator().manual_seed(0)
    coords = sampler.select(field, Targets(labels), coarse=some, generator=generator)
    assert coords.shape == (1, 80, 2)
    index = coords_to_index(coords, (32, 32))
    assert continuous or len(set(index[0].tolist())) == 80
    inside = near_boundary(labels, 2.0).flatten(1).gather(1, index)[0]
    assert inside[20:60].all()  # behind 20 uncertain ones, before 20 anywhere
    assert not inside[60:].all()
    rows = set((index[0, 20:60] // 32).tolist())
    assert {n % 2 for n in rows} == {0, 1}
    steps = (coords[:, 20:60] + 1) * 16 - 0.5
    assert torch.allclose(steps, steps.round(), atol=1e-4) != continuous


def test_a_crop_with_too_little_boundary_has_other_points_in_their_place():
    sampler = UncertainConfig(points=60, importance=0.5, near_share=0.5).build()
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    assert len(set(index_of(sampler.select(Disc(), Targets(labels))))) == 60
    labels[:, 0, 0] = 1
    chosen = index_of(sampler.select(Disc(), Targets(labels)))
    assert len(set(chosen)) == 60
    assert set(near_boundary(labels, 2.0)[0].flatten().nonzero()[:, 0].tolist()) <= set(chosen)


def test_without_a_share_the_draws_are_what_they_were():
    """Numbers that the sampler gave before it could look at labels."""
    sampler = UncertainConfig(points=8, oversample=3, importance=0.75).build()
    chosen = index_of(
        sampler.select(Disc(), UNLABELLED, generator=torch.Generator().manual_seed(7))
    )
    assert chosen == [552, 722, 394, 647, 664, 633, 470, 257]
