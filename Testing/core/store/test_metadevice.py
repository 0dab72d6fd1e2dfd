"""A network without memory has the shapes of the real one, and is made at once."""

import subprocess
import sys

import pytest
import torch

from MorseCore.config import decode
from MorseCore.network import NetworkConfig
from MorseCore.store.library import find_model
from MorseCore.store.metadevice import shapes_only
from networks import BACKBONES, TINY_MORSE
from training_runs import REPOSITORY


@pytest.mark.parametrize("head", [TINY_MORSE, {"name": "plain"}], ids=lambda head: head["name"])
def test_it_has_the_shapes_of_the_real_one_and_no_values(head: dict) -> None:
    data = {"spatial_dims": 3, "backbone": BACKBONES["unet3d"], "head": head}
    config = decode(NetworkConfig, data, "")
    real = config.build(num_classes=3).state_dict()
    with shapes_only():
        empty = config.build(num_classes=3).state_dict()
    assert {n: x.shape for n, x in empty.items()} == {n: x.shape for n, x in real.items()}
    assert {x.device.type for x in empty.values()} == {"meta"}
    assert torch.randn(2).device.type == "cpu"  # afterwards all is as before


def test_a_sigma_scales_the_shape_of_what_is_drawn_not_its_size() -> None:
    with shapes_only():
        assert (2.5 * torch.randn(3, 4)).shape == (3, 4)
        assert (torch.empty(3, 1) * torch.empty(1, 4)).shape == (3, 4)


def test_loading_a_model_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys; from pathlib import Path; from MorseCore.store.model_folder import *; "
        f"folder = Path({str(find_model('hippocampus-t1'))!r}); "
        "load_network(folder, read_model(folder)); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert done.returncode == 0
