"""Where a window or a crop lies is told to the head, in prediction and in training."""

import pytest
import torch

from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.network import Network
from MorseCore.points import grid_coords, pixel_axes
from MorseCore.renderers import DenseConfig
from MorseCore.store.model_folder import WindowConfig
from MorseCore.training.samples import Minibatch
from MorseCore.training.step import Objective
from networks import TINY_SWIPE, make_image, make_network
from training_runs import run_config

WINDOW = (8, 8, 8)


def make_swipe(*, dims: int = 3, **options: object) -> Network:
    """SwIPE, which alone asks for the place; by ``source_coordinate`` it may be kept from it."""
    return make_network(head={**TINY_SWIPE, **options}, dims=dims)


def twice(crop: torch.Tensor) -> torch.Tensor:
    """The same window two times, one beside the other along the last axis."""
    return torch.cat([crop, crop], dim=-1)


def predict(
    network: Network, volume: torch.Tensor, *, dims: int = 3, batch: int = 1
) -> GridPrediction:
    """Windows that do not overlap, every voxel rendered."""
    settings = WindowSettings(
        WINDOW[:dims], DenseConfig().build(), WindowConfig(overlap=0, batch=batch),
        precision="fp32",
    )  # fmt: skip
    return predict_volume(network, volume, settings)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("used", [True, False])
def test_windows_of_the_same_voxels_are_answered_by_their_places(used, batch):
    crop = torch.randn(WINDOW, generator=torch.Generator().manual_seed(2))
    answer = predict(make_swipe(source_coordinate=used), twice(crop), batch=batch)
    assert answer.windows == 2
    left, right = answer.refined.chunk(2, dim=-1)
    assert ((left - right).abs().max() > 0.02) == used
    # The decoder of the image embedding, which gives the coarse answer, never asks for the place.
    assert torch.allclose(*answer.coarse.chunk(2, dim=-1), atol=1e-5)


def test_a_window_is_told_which_half_of_the_image_it_is():
    network = make_swipe()
    crop = torch.randn(WINDOW, generator=torch.Generator().manual_seed(2))
    answer = predict(network, twice(crop))
    coords = grid_coords(pixel_axes(WINDOW))
    for half, shift in zip(answer.refined.chunk(2, dim=-1), (-0.5, 0.5), strict=True):
        # x of the image is x / 2 -+ 1/2 of the window; the window spans y and z.
        place = torch.eye(3, 4)
        place[0, 0], place[0, 3] = 0.5, shift
        with torch.no_grad():
            logits = network(crop[None, None], to_source=place[None]).logits(coords)
        expected = logits[0].softmax(-1).T.view(-1, *WINDOW)
        assert torch.allclose(half, expected, atol=1e-5)


def test_the_windows_of_slices_are_told_their_places_too():
    crop = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    answer = predict(make_swipe(dims=2), twice(crop), dims=2)
    left, right = answer.refined.chunk(2, dim=-1)
    assert (left - right).abs().amax(dim=(0, 2, 3)).min() > 0.02  # in each of the slices


@pytest.mark.parametrize("used", [True, False])
def test_batches_that_differ_in_their_places_alone_have_different_losses(used):
    head = {**TINY_SWIPE, "source_coordinate": used, "dropout": 0.0}
    network = make_swipe(source_coordinate=used, dropout=0.0)
    data = {"spatial_dims": 3, "backbone": {"name": "unet3d", "channels": [4, 6, 8]}, "head": head}
    objective = Objective(network, run_config(network=data))
    image = make_image(3)
    labels = torch.randint(0, 3, (2, 8, 16, 24), generator=torch.Generator().manual_seed(1))
    corner = torch.eye(3, 4) * 0.5  # the crop is an eighth of its source
    corner[:, 3] = -0.5
    losses = []
    for place in (torch.eye(3, 4), corner):
        batch = Minibatch(image, labels, place.expand(2, -1, -1), torch.zeros(2, 0, 3))
        active = ("patch", "image", "spo", "emb")
        losses.append(objective(batch, active, torch.Generator().manual_seed(0)))
    moved = {name for name in losses[0] if not torch.allclose(losses[0][name], losses[1][name])}
    assert set(losses[0]) == {"patch", "image", "spo", "emb"}
    assert moved == ({"patch", "spo"} if used else set())
