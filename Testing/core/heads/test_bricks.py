"""A stem that is computed in bricks around points says what it says of the whole image."""

import itertools

import pytest
import torch
from torch.nn import functional

from MorseCore.heads.parts.bricks import find_bricks, find_corners
from MorseCore.heads.parts.image_source import ImageStem, RawNeighbourhood, local_contrast
from MorseCore.points import grid_coords, pick_coords, pixel_axes, sample_rows, to_rows

SIZES = [(22, 17, 26), (16, 24, 20), (61, 50), (48, 64)]  # some are no multiple of a brick's side


def make_stem(dims: int, *, image_channels: int = 1) -> ImageStem:
    torch.manual_seed(0)
    return ImageStem(dims, image_channels, channels=6)


def make_image(size: tuple[int, ...], *, batch: int = 2, channels: int = 1) -> torch.Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


def by_hand(stem: ImageStem, image: torch.Tensor) -> torch.Tensor:
    """The whole image, padded once by its edge: boxes of 5, then two convolutions."""
    dims = image.ndim - 2
    boxes = functional.pad(image.double(), [4] * 2 * dims, mode="replicate")
    centre = boxes[(..., *[slice(2, -2)] * dims)]
    for axis in range(2, 2 + dims):
        boxes = boxes.unfold(axis, 5, 1)
    flat = boxes.flatten(-dims)
    x = (centre - flat.mean(-1)) / (flat.var(-1, unbiased=False) + 0.01).sqrt()
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    for layer in stem.layers:
        x = functional.relu(convolve(x, layer.weight.double(), layer.bias.double()))
    return x.float()


def few_points(size: tuple[int, ...], count: int = 9) -> torch.Tensor:
    """Pixel centres, places between them, the corners of the image, and what lies beyond."""
    generator = torch.Generator().manual_seed(2)
    dims, total = len(size), torch.Size(size).numel()
    index = torch.randint(total, (2, count), generator=generator)
    corners = torch.tensor(list(itertools.product((-1.1, 1.0), repeat=dims)))
    return torch.cat([
        pick_coords(pixel_axes(size), index),
        2 * torch.rand(2, count, dims, generator=generator) - 1,
        corners.expand(2, -1, -1)[:, :3],
    ], dim=1)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bricks_say_what_the_whole_image_says(size, channels):
    stem, image = make_stem(len(size), image_channels=channels), make_image(size, channels=channels)
    with torch.no_grad():
        dense = by_hand(stem, image)
        assert torch.allclose(stem.dense(image), dense, atol=1e-5)
        for coords in (few_points(size), few_points(size)[:, :1], few_points(size)[:, -1:]):
            seen = stem(image)
            expected = sample_rows(to_rows(dense), size, coords)
            assert torch.allclose(seen(coords), expected, atol=1e-5)
            assert 0 < seen.evaluated < image.numel() // channels  # not of the whole image


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("scale", [1, 2])
def test_a_region_may_be_asked_at_the_images_resolution_or_finer(size, scale):
    stem, image = make_stem(len(size)), make_image(size, batch=1)
    axes = [axis[3 * scale : 7 * scale] for axis in pixel_axes([n * scale for n in size])]
    coords = grid_coords(axes)
    with torch.no_grad():
        seen = stem(image)
        found = seen(coords)
        assert torch.allclose(
            found, sample_rows(to_rows(by_hand(stem, image)), size, coords), atol=1e-5
        )
    assert seen.evaluated < image.numel() / 3


def test_all_pixels_are_computed_once_and_together():
    size = SIZES[0]
    stem, image = make_stem(3), make_image(size)
    coords = grid_coords(pixel_axes(size)).expand(2, -1, -1)
    with torch.no_grad():
        seen = stem(image)
        found = seen(coords)
        assert seen.evaluated == image.numel()
        assert torch.allclose(found.transpose(1, 2), by_hand(stem, image).flatten(2), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_cost_follows_the_points_and_not_the_image(dims):
    stem = make_stem(dims)
    side, counts = stem.side, {}
    scattered = torch.randperm(12**dims, generator=torch.Generator().manual_seed(2))
    for length in (96, 144):
        for points in (8, 16, 32):  # as many bricks, none to fill up
            image, size = make_image((length,) * dims, batch=1), (length,) * dims
            places = torch.unravel_index(scattered[:points], (12,) * dims)
            coords = [axis[place * (length // 12)] for axis, place in
                      zip(pixel_axes(size), places, strict=True)]  # fmt: skip
            with torch.no_grad():
                seen = stem(image)
                seen(torch.stack(coords[::-1], dim=-1)[None])
            counts[length, points] = seen.evaluated
            assert seen.evaluated == points * side**dims
    assert counts[144, 32] > counts[144, 16] > counts[144, 8]


def test_points_side_by_side_cost_the_box_around_them_and_not_its_bricks():
    stem, image = make_stem(3), make_image((48, 48, 48), batch=1)
    axes = [axis[6:18] for axis in pixel_axes((48, 48, 48))]  # 4 x 4 x 4 bricks, most of them cut
    with torch.no_grad():
        seen = stem(image)
        found = seen(grid_coords(axes))
        assert seen.evaluated == 12**3
        dense = stem.dense(image)[:, :, 6:18, 6:18, 6:18]
    assert torch.allclose(found.transpose(1, 2), dense.flatten(2), atol=1e-5)


def test_points_in_one_brick_share_it():
    stem, image = make_stem(3), make_image((48, 48, 48), batch=1)
    axes = [axis[8:12] for axis in pixel_axes((48, 48, 48))]  # the pixels of one brick
    with torch.no_grad():
        seen = stem(image)
        seen(grid_coords(axes))
    assert seen.evaluated == 4**3


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_order_of_the_points_changes_no_bit_of_an_answer(size):
    stem, image, coords = make_stem(len(size)), make_image(size), few_points(size)
    order = torch.randperm(coords.shape[1], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(stem(image)(coords[:, order]), stem(image)(coords)[:, order])


def test_one_image_may_be_asked_for_several_lists_of_points():
    size = SIZES[2]
    stem, image, coords = make_stem(2), make_image(size, batch=1), few_points(size)
    with torch.no_grad():
        both = stem(image)(coords)
        assert torch.allclose(both[1:], stem(image)(coords[1:]), atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_gradient_of_bricks_is_that_of_the_whole_image(size):
    image, coords, found = make_image(size), few_points(size), []
    for ask in (
        lambda stem: stem(image)(coords),
        lambda stem: sample_rows(to_rows(stem.dense(image)), size, coords),
    ):
        stem = make_stem(len(size))
        ask(stem).square().sum().backward()
        found.append([parameter.grad for parameter in stem.parameters()])
    for one, other in zip(*found, strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_nothing_is_computed_of_no_points():
    seen = make_stem(3)(make_image((16, 16, 16)))
    assert seen(torch.empty(2, 0, 3)).shape == (2, 0, 6)
    assert seen.evaluated == 0


def test_a_point_that_only_rounding_keeps_from_a_centre_calls_for_one_brick():
    for n in (40, 56, 127, 512):
        coords = torch.stack([*pixel_axes((n,) * 3)], dim=-1)[None]
        pixel = find_corners(coords, (n,) * 3).pixel
        assert pixel.shape == (1, n, 1, 3)
        bricks = find_bricks(pixel, (n,) * 3, side=4, images=1)
        assert len(bricks) == -(-n // 4)


def test_contrast_is_local_and_knows_no_brightness():
    image = 3 * make_image((30, 30), batch=1)
    plain = local_contrast(image)
    slope = torch.linspace(-2, 2, 30)[:, None].expand(30, 30)
    assert torch.allclose(local_contrast(image + 7.0), plain, atol=1e-4)
    assert torch.allclose(local_contrast(4 * image), plain, atol=2e-2)
    assert torch.allclose(local_contrast(image + slope), plain, atol=0.2)  # a bias field
    assert local_contrast(torch.full((1, 1, 9, 9), 5.0)).abs().max() == 0
    changed = image.clone()
    changed[..., 20:, :] += 100 * torch.rand(10, 30)
    assert torch.equal(local_contrast(changed)[..., :16, :], plain[..., :16, :])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_raw_intensities_are_those_of_the_pixel_and_all_around_it(size):
    dims, image, coords = len(size), make_image(size, channels=2), few_points(size)
    found = RawNeighbourhood(dims, 2)(image)(coords).view(2, -1, 2, 3**dims)
    padded = functional.pad(image, [1] * 2 * dims, mode="replicate")
    for n, step in enumerate(itertools.product((0, 1, 2), repeat=dims)):
        moved = padded[(..., *(slice(a, a + s) for a, s in zip(step, size, strict=True)))]
        expected = sample_rows(to_rows(moved), size, coords)
        assert torch.allclose(found[..., n], expected, atol=1e-5)
