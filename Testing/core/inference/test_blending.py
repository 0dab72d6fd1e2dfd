"""Windows cover an image, and blending them is MONAI's."""

import itertools

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

from MorseCore.images.workload import window_starts
from MorseCore.inference.blending import (
    WindowAccumulator,
    crop_window,
    gaussian_weight,
    lay_windows,
    window_slices,
)


def test_one_window_is_enough_for_an_image_of_its_size() -> None:
    assert window_starts((8, 8), (8, 8), overlap=0.5) == [(0, 0)]


def test_starts_are_evenly_spaced_and_end_at_the_border() -> None:
    # Steps of at most 5 in 17 - 10 = 7: two gaps of 3.5.
    assert window_starts((17,), (10,), overlap=0.5) == [(0,), (4,), (7,)]
    assert window_starts((20,), (10,), overlap=0.0) == [(0,), (10,)]


def test_the_last_axis_runs_fastest() -> None:
    starts = window_starts((4, 4), (2, 2), overlap=0.0)
    assert starts == [(0, 0), (0, 2), (2, 0), (2, 2)]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.625, 0.9])
def test_windows_cover_everything_and_overlap_as_asked(overlap: float) -> None:
    for size in range(7, 40):
        starts = [a for (a,) in window_starts((size,), (7,), overlap=overlap)]
        assert starts[0] == 0
        assert starts[-1] == size - 7
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(1 <= step <= max(1, int(7 * (1 - overlap))) for step in steps)


def test_a_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="8 voxels does not fit in 7"):
        window_starts((7,), (8,), overlap=0.5)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_an_overlap_outside_zero_to_one_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap"):
        window_starts((8,), (8,), overlap=overlap)


@pytest.mark.parametrize("window", [(1,), (9, 16), (6, 7, 8)])
def test_the_weight_is_monais(window: tuple[int, ...]) -> None:
    expected = compute_importance_map(window, mode="gaussian", sigma_scale=0.125)
    torch.testing.assert_close(gaussian_weight(window), expected)


def test_the_weight_is_largest_in_the_middle_and_never_zero() -> None:
    weight = gaussian_weight((65, 65, 65))
    assert float(weight[32, 32, 32]) == 1.0
    assert float(weight[0, 0, 0]) == pytest.approx(1e-3)
    assert torch.equal(weight, weight.flip(0, 1, 2))


def test_a_small_image_lies_in_the_middle_of_its_window() -> None:
    image = torch.arange(1.0, 7.0).reshape(2, 3)
    box, starts = lay_windows(image.shape, (5, 3), overlap=0.0)
    assert box == ((1, 0), (3, 3))
    assert starts == [(0, 0)]
    crop = crop_window(image, (-1, 0), (5, 3))
    assert crop.tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6], [0, 0, 0], [0, 0, 0]]


def test_an_image_of_one_voxel_has_a_window() -> None:
    box, starts = lay_windows((1, 1, 1), (4, 4, 4), overlap=0.5)
    begin = [a - b for a, b in zip(starts[0], box[0], strict=True)]
    crop = crop_window(torch.ones(1, 1, 1), begin, (4, 4, 4))
    assert crop.shape == (4, 4, 4)
    assert crop.sum() == crop[1, 1, 1] == 1


def test_an_image_large_enough_is_not_padded() -> None:
    image = torch.arange(30.0).reshape(5, 6)
    box, starts = lay_windows(image.shape, (5, 4), overlap=0.25)
    assert box == ((0, 0), (5, 6))
    assert starts == [(0, 0), (0, 2)]
    assert torch.equal(crop_window(image, (0, 2), (5, 4)), image[:, 2:])


def test_overlapping_windows_are_averaged_by_weight() -> None:
    blend = WindowAccumulator(1, (3,))
    blend.add((0,), torch.tensor([[1.0, 1.0]]), torch.tensor([1.0, 1.0]))
    blend.add((1,), torch.tensor([[5.0, 5.0]]), torch.tensor([3.0, 1.0]))
    assert blend.result().tolist() == [[1.0, 4.0, 5.0]]


def test_a_voxel_in_no_window_is_an_error() -> None:
    blend = WindowAccumulator(1, (3,))
    blend.add((0,), torch.ones(1, 2), torch.ones(2))
    with pytest.raises(ValueError, match="in no window"):
        blend.result()


def test_half_precision_sums_stay_close() -> None:
    blend = WindowAccumulator(2, (4,), dtype=torch.float16)
    for start in (0, 1, 2):
        blend.add((start,), torch.full((2, 2), 0.25), gaussian_weight((2,)))
    result = blend.result()
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), torch.full((2, 4), 0.25), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("size", "window"), [((16, 24), (8, 8)), ((12, 8, 16), (8, 8, 8))])
def test_blending_equals_monais_sliding_window(
    size: tuple[int, ...], window: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = (torch.nn.Conv2d if len(size) == 2 else torch.nn.Conv3d)(1, 3, 3, padding=1)
    image = torch.randn(1, 1, *size, generator=generator)
    blend = WindowAccumulator(3, size)
    weight = gaussian_weight(window)
    with torch.no_grad():
        for start in window_starts(size, window, overlap=0.5):  # steps of 4: MONAI's as well
            part = image[(slice(None), slice(None), *window_slices(start, window))]
            blend.add(start, net(part)[0], weight)
        expected = sliding_window_inference(image, window, 1, net, overlap=0.5, mode="gaussian")
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(blend.result()[None], expected, atol=1e-5, rtol=0)
