"""Windows over a volume, and asking their fields again."""

import pytest
import torch
from monai.inferers import sliding_window_inference

from MorseCore.errors import Cancelled
from MorseCore.inference.options import UNWATCHED, RunMonitor, WindowSettings
from MorseCore.inference.sliding_window import KeptFields, predict_volume
from MorseCore.renderers import DenseConfig, RefineConfig
from MorseCore.store.model_folder import WindowConfig
from networks import make_network

WINDOWS = {3: (8, 16, 8), 2: (8, 16)}
LARGE = 10**9


def make_volume() -> torch.Tensor:
    """(K, J, I), smaller than the 3D window along K and larger along J and I."""
    return torch.randn(6, 21, 18, generator=torch.Generator().manual_seed(3))


def network_for(dims: int):
    return make_network("unet3d" if dims == 3 else "unet", dims=dims)


def predict(
    dims: int, volume: torch.Tensor, renderer=None, *, keep=None, monitor=UNWATCHED, **settings
):
    windows = settings.pop("windows", WindowConfig(overlap=0.5))
    return predict_volume(
        network_for(dims), volume,
        WindowSettings(WINDOWS[dims], (renderer or DenseConfig()).build(), windows, **settings),
        keep=keep, monitor=monitor,
    )  # fmt: skip


def test_coarse_probabilities_equal_monais_sliding_window():
    volume = torch.randn(8, 24, 16, generator=torch.Generator().manual_seed(3))
    network = network_for(3)

    def coarse(image):
        field = network(image)
        return field.coarse_grid(field.pixels()).softmax(1)

    expected = sliding_window_inference(
        volume[None, None], WINDOWS[3], 1, coarse, overlap=0.5, mode="gaussian"
    )[0]
    assert torch.allclose(predict(3, volume, precision="fp32").coarse, expected, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_several_windows_at_once_give_the_same_as_one_by_one(dims):
    volume = make_volume()
    one = predict(dims, volume, RefineConfig(points=50))
    many = predict(
        dims, volume, RefineConfig(points=50), windows=WindowConfig(overlap=0.5, batch=3)
    )
    assert torch.allclose(one.refined, many.refined, atol=1e-5)
    assert torch.equal(one.rendered, many.rendered)


@pytest.mark.parametrize("dims", [2, 3])
def test_probabilities_sum_to_one_everywhere(dims):
    prediction = predict(dims, make_volume(), RefineConfig(points=20))
    for maps in (prediction.coarse, prediction.refined):
        assert maps.shape == (3, 6, 21, 18)
        assert torch.allclose(maps.sum(0), torch.ones(6, 21, 18), atol=1e-5)


def test_no_point_is_spent_on_the_padding():
    # 6 of 8 slices are image: all of it can be rendered with as many points as it has voxels.
    volume = make_volume()[:, :16, :8]
    prediction = predict(3, volume, RefineConfig(points=6 * 16 * 8, passes=1))
    assert prediction.rendered.all()
    assert prediction.evaluations == 6 * 16 * 8


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scale", [1, 2])
def test_kept_fields_answer_as_the_first_run_did(dims, scale):
    volume, kept = make_volume(), KeptFields(WINDOWS[dims], limit=LARGE)
    first = predict(dims, volume, keep=kept, scale=scale)
    assert kept.is_complete
    again = kept.render(DenseConfig().build(), ((0, 0, 0), (6, 21, 18)), scale=scale)
    assert torch.allclose(again.refined, first.refined, atol=1e-5)
    assert torch.allclose(again.coarse, first.coarse, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_box_rendered_again_is_that_part_of_the_whole(dims):
    volume, kept = make_volume(), KeptFields(WINDOWS[dims], limit=LARGE)
    whole = predict(dims, volume, keep=kept)
    part = kept.render(DenseConfig().build(), ((1, 5, 3), (5, 20, 17)))
    assert torch.allclose(part.refined, whole.refined[:, 1:5, 5:20, 3:17], atol=1e-5)


def test_fields_beyond_the_limit_are_not_kept_and_said_so():
    kept = KeptFields(WINDOWS[3], limit=1000)
    predict(3, make_volume(), keep=kept)
    assert not kept.is_complete


def test_a_run_that_is_asked_to_stop_stops_at_the_next_window():
    seen = []
    monitor = RunMonitor(seen.append, should_stop=lambda: len(seen) == 2)
    with pytest.raises(Cancelled, match="segmentation was cancelled"):
        predict(3, make_volume(), monitor=monitor)
    assert len(seen) == 2


def test_a_rendering_is_watched_as_a_run_is():
    kept, seen = KeptFields(WINDOWS[3], limit=LARGE), []
    predict(3, make_volume(), keep=kept)
    box, renderer = ((0, 0, 0), (6, 21, 18)), DenseConfig().build()
    kept.render(renderer, box, monitor=RunMonitor(seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    seen.clear()
    monitor = RunMonitor(seen.append, should_stop=lambda: len(seen) == 2)
    with pytest.raises(Cancelled, match="Rendering was cancelled"):
        kept.render(renderer, box, monitor=monitor)
    assert len(seen) == 2


@pytest.mark.parametrize("dims", [2, 3])
def test_progress_rises_to_one(dims):
    seen = []
    predict(dims, make_volume(), monitor=RunMonitor(seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_temperature_makes_the_answers_less_sure_and_changes_no_points():
    volume, renderer = make_volume()[:, :16, :8], RefineConfig(points=50)  # one window
    kept = KeptFields(WINDOWS[3], limit=LARGE, temperature=2.0)
    plain, calm = predict(3, volume, renderer), predict(3, volume, renderer, temperature=2.0)
    expected = plain.refined.log().div(2).softmax(0)
    assert torch.allclose(calm.refined, expected, atol=1e-5)
    assert torch.equal(calm.rendered, plain.rendered)
    predict(3, volume, renderer, temperature=2.0, keep=kept)
    again = kept.render(renderer.build(), ((0, 0, 0), tuple(volume.shape)))
    assert torch.allclose(again.refined, expected, atol=1e-5)


def test_what_is_not_rendered_is_not_blended_twice():
    prediction = predict(3, make_volume(), RefineConfig(passes=0))
    assert prediction.refined is prediction.coarse


class RendersFromTheSecondWindow:
    """A renderer that finds nothing to do in the first window."""

    def __init__(self):
        self.windows = 0

    def render(self, field, axes=None):
        self.windows += 1
        config = DenseConfig() if self.windows > 1 else RefineConfig(passes=0)
        return config.build().render(field, axes)


def test_windows_with_and_without_rendered_points_are_blended_alike():
    class Config:
        def build(self):
            return RendersFromTheSecondWindow()

    volume = torch.randn(8, 32, 8, generator=torch.Generator().manual_seed(3))  # two windows
    one = WindowConfig(overlap=0)
    mixed = predict(3, volume, Config(), windows=one)
    full = predict(3, volume, windows=one)
    assert torch.allclose(mixed.refined[..., :16, :], full.coarse[..., :16, :], atol=1e-6)
    assert torch.allclose(mixed.refined[..., 16:, :], full.refined[..., 16:, :], atol=1e-6)
    assert torch.allclose(mixed.coarse, full.coarse, atol=1e-6)
