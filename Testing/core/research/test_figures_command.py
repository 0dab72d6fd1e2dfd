"""``figures.py``: rendered points over the masks, and the gates of a head."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from MorseCore.config import decode
from MorseCore.images.imageio import read_volume
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.network import NetworkConfig
from MorseCore.points import grid_coords, pixel_axes
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model, write_model
from networks import IMPLICIT, make_image, make_network
from training_runs import script


def figures(*words: object) -> int:
    return script("figures").main([*map(str, words), "--device", "cpu"])


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def model_with(head: dict, folder: Path, *, dims: int = 3) -> Path:
    """A model folder with random weights."""
    name = "phantom-tiny" if dims == 3 else "phantom-tiny-2d"
    info = read_model(find_model(name))
    data = {"spatial_dims": dims, "backbone": {"name": "unet3d", "channels": [4, 6, 8]},
            "head": head}  # fmt: skip
    config = decode(NetworkConfig, data, "")
    torch.manual_seed(1)
    weights = config.build(num_classes=info.num_classes).state_dict()
    write_model(folder, replace(info, network=config), weights, card="# Random\n")
    return folder


def test_the_points_are_drawn(scan: Path, tmp_path: Path) -> None:
    assert figures("points", "phantom-tiny", scan, "--output", tmp_path / "points.png") == 0
    assert is_picture(tmp_path / "points.png")


def test_a_model_that_finds_nothing_is_drawn_all_the_same(scan: Path, tmp_path: Path) -> None:
    model = model_with({"name": "plain"}, tmp_path / "model")
    assert figures("points", model, scan, "--output", tmp_path / "points.png") == 0
    assert is_picture(tmp_path / "points.png")


@pytest.mark.parametrize("head", ["morse", "i2net", "i2net_points"])
def test_the_gates_are_drawn(scan: Path, tmp_path: Path, head: str) -> None:
    model = "phantom-tiny"
    if head != "morse":
        model = str(model_with(IMPLICIT[head], tmp_path / "model"))
    assert figures("gates", model, scan, "--output", tmp_path / "gates.png") == 0
    assert is_picture(tmp_path / "gates.png")


def test_gates_of_a_head_without_any_are_refused_in_one_sentence(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_with({"name": "plain"}, tmp_path / "model")
    assert figures("gates", model, scan, "--output", tmp_path / "gates.png") == 2
    assert "has no gates to draw." in capsys.readouterr().err
    assert not (tmp_path / "gates.png").exists()


@pytest.mark.parametrize("dims", [2, 3])
def test_gate_maps_are_the_shares_on_the_slice_with_most_foreground(
    scan: Path, dims: int, predictor: VolumePredictor, slice_predictor: VolumePredictor
) -> None:
    volume = read_volume(scan)
    maps = script("figures").gate_maps(predictor if dims == 3 else slice_predictor, volume)
    assert maps.gates.shape[1:] == maps.image.shape == maps.labels.shape
    np.testing.assert_allclose(maps.gates.sum(0), 1, atol=1e-5)
    assert np.ptp(maps.gates[0]) > 0
    assert maps.labels.any()
    # Only what the scan shows: neither the padding of a window nor another slice.
    inside = (volume.array - volume.array.mean()) / volume.array.std()
    assert maps.image.shape <= volume.array.shape[1:]
    assert maps.image.min() >= inside.min() - 0.1


@pytest.mark.parametrize("head", ["morse", "moe", "iar+moe"])
def test_the_gates_of_experts_are_the_weights_of_the_mixture(head: str) -> None:
    network = make_network(head=head, dims=2)
    with torch.no_grad():
        field = network(make_image(2))
        coords = grid_coords(pixel_axes((3, 5))).expand(2, -1, -1)
        gates = field.gates(coords)
    torch.testing.assert_close(gates, field.features.weights(coords))
    torch.testing.assert_close(gates.sum(-1), torch.ones(2, 15))


@pytest.mark.parametrize("head", ["plain", "iar", "pointrend", "swipe"])
def test_a_head_without_experts_has_no_gates(head: str) -> None:
    with torch.no_grad():
        field = make_network(head=head, dims=2)(make_image(2))
        assert field.gates(torch.zeros(2, 1, 2)) is None
