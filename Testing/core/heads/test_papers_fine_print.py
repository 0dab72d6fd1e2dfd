"""Details of the papers and of their released code that are easy to get subtly wrong."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from data_sets import cube, prepared
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.heads.parts.fourier import FourierEncoding
from MorseCore.metrics.scores import score_labels
from MorseCore.points import grid_coords
from MorseCore.renderers import RefineConfig
from MorseCore.store.model_folder import WindowConfig
from MorseCore.training.config import RunConfig
from MorseCore.training.run import build_network
from MorseCore.training.validation import Validator
from networks import make_image, make_network

UNETR = {"name": "unetr", "channels": 2, "hidden": 12, "mlp": 24, "heads": 2, "layers": 12}


CARD = {"title": "A", "task": "B", "modality": "MR", "licence": "CC0", "data": "made up"}


def unetr_config(image_size: list[int]) -> RunConfig:
    """A window of 48 x 32 x 16 voxels along x, y, z."""
    return decode(RunConfig, {
        "name": "a", "data": {"dataset": "d.json", "split": "s.json"},
        "preparation": {"window": [48, 32, 16]}, "card": CARD,
        "network": {"backbone": UNETR | {"image_size": image_size}, "head": {"name": "plain"}},
    }, "")  # fmt: skip


def test_a_window_of_three_lengths_fits_the_image_size_in_array_order() -> None:
    network = build_network(unetr_config([16, 32, 48]), 2)
    assert network(torch.zeros(1, 1, 16, 32, 48)).size == (16, 32, 48)
    with pytest.raises(ConfigError, match="image_size"):
        build_network(unetr_config([48, 32, 16]), 2)


@pytest.mark.parametrize("sigma", [1.0, 10.0])
def test_half_precision_does_not_blur_positions(sigma: float) -> None:
    torch.manual_seed(0)
    encoding = FourierEncoding(2, 16, sigma=sigma)
    coords = torch.rand(1, 500, 2) * 2 - 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoding(coords)
    phase = 2 * math.pi * (coords.double() @ encoding.frequencies.double())
    expected = torch.cat([phase.sin(), phase.cos()], dim=-1).float()
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize(("routing", "sees_all"), [("released", True), ("renorm", False)])
def test_the_released_gate_sees_the_experts_that_are_left_out(routing: str, sees_all: bool) -> None:
    network = make_network(head={"name": "smoe", "preset": "custom", "width": 8, "gate_stride": 2,
                                 "routing": routing})  # fmt: skip
    experts = network.head.experts
    with torch.no_grad():
        experts.gate[-1].weight.normal_()
        pyramid = network.backbone(make_image(3))
        mask = torch.ones(2, len(experts.experts), dtype=torch.bool)
        whole = experts(pyramid, mask).gate
        mask[:, 1] = False
        less = experts(pyramid, mask).gate
    assert torch.allclose(whole, less) == sees_all


def test_points_can_be_those_on_which_neighbouring_patches_disagree() -> None:
    network = make_network("res2net", "swipe", dims=2)
    with torch.no_grad():
        field = network(make_image(2))
        chosen = RefineConfig(points=9, passes=1, uncertainty="head").build().render(field).index
        variance = field.variance(grid_coords(field.pixels()).expand(2, -1, -1))
    assert torch.equal(chosen.sort().values, variance.topk(9, dim=1).indices.sort().values)
    margins = RefineConfig(points=9, passes=1).build().render(field).index
    assert not torch.equal(chosen.sort().values, margins.sort().values)


def test_a_head_without_an_uncertainty_of_its_own_says_so() -> None:
    field = make_network("unet", "plain", dims=2)(make_image(2))
    renderer = RefineConfig(points=9, uncertainty="head").build()
    with pytest.raises(ConfigError, match="no uncertainty of its own"):
        renderer.render(field)
    with pytest.raises(ConfigError, match="'margin' or 'head'"):
        RefineConfig(uncertainty="entropy")  # type: ignore[arg-type]


def test_masks_are_scored_against_the_labels_as_they_were_drawn(tmp_path: Path) -> None:
    case = prepared(tmp_path, 100 * cube(), cube(), spacing=(2.0, 2.0, 2.0))
    assert case.labels.shape == (4, 4, 4)
    assert case.drawn is not None
    assert np.array_equal(case.drawn.labels, cube())

    class Perfect(torch.nn.Module):
        """Answers the labels of the model's grid with certainty."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, image, *, to_source=None, generator=None):
            from MorseCore.heads.plain import PlainField

            labels = torch.from_numpy(case.labels.astype(np.int64))
            logits = 30 * torch.nn.functional.one_hot(labels, 2).permute(3, 0, 1, 2).float()
            return PlainField(logits[None], (4, 4, 4))

    validator = Validator(
        window=(4, 4, 4),
        renderer=RefineConfig(passes=0).build(),
        windows=WindowConfig(),
        labels=[1],
    )
    score = validator.scores(Perfect(), [case])["coarse"][0].structures[1]
    assert 0.3 < score.dice < 0.9  # what is lost at half the resolution is counted
    as_drawn = score_labels(cube().astype(np.uint8), case.drawn.labels, [1], (1.0, 1.0, 1.0))
    assert as_drawn[1].dice == 1.0


def test_on_the_labels_own_grid_nothing_is_kept_twice(tmp_path: Path) -> None:
    assert prepared(tmp_path, 100 * cube(), cube(), spacing=(1.0, 1.0, 1.0)).drawn is None
