"""OpenVINO computes what torch computes, says where it cannot, and reports nothing to anybody."""

import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cli_client import CommandLine, phantom_volume, read_report, write_scan
from MorseCore.errors import ConfigError, DeviceError
from MorseCore.inference.openvino import OpenVinoBackbone, use_engine
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.library import find_model
from MorseCore.system.devices import autocast
from networks import BACKBONES, ENCODERS, ONLY_2D, make_network

CPU = torch.device("cpu")
KINDS = [
    (name, dims)
    for name in BACKBONES
    for dims in (2, 3)
    if not (dims == 3 and name in ONLY_2D) and (name, dims) != ("unetr", 2)
]


def image_for(backbone: nn.Module, *, batch: int) -> torch.Tensor:
    spec = backbone.spec
    size = spec.fixed_size or tuple(spec.divisor * n for n in (2, 1, 3)[: spec.spatial_dims])
    return torch.randn((batch, 1, *size), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "dims"), KINDS)
def test_openvino_makes_the_maps_that_torch_makes(name: str, dims: int) -> None:
    original = make_network(name, "ifa" if name in ENCODERS else "plain", dims=dims)
    window = image_for(original.backbone, batch=1).shape[2:]
    converted = OpenVinoBackbone(original.backbone, window)
    for batch in (1, 2):
        image = image_for(original.backbone, batch=batch)
        with torch.inference_mode():
            expected, found = original.backbone(image), converted(image)
        assert found.size == expected.size
        for a, b in zip(found.levels, expected.levels, strict=True):
            assert a.shape == b.shape
            assert (a - b).abs().max() < 1e-3 * b.abs().max()


@pytest.mark.parametrize(("size", "is_right"), [([16, 16], True), ([8, 16], False)])
def test_maps_that_openvino_gets_wrong_are_not_used(
    size: list[int], is_right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a UNETR with one row of tokens its version 2026.4.1 makes other maps, without a word."""
    monkeypatch.setitem(BACKBONES, "unetr", BACKBONES["unetr"] | {"image_size": size})
    network = make_network("unetr", "plain", dims=2)
    torch_answers = network.backbone
    told = use_engine(network, "openvino", device=CPU, window=size)
    assert told.startswith("openvino") == is_right
    image = image_for(torch_answers, batch=1)
    with torch.inference_mode():
        for a, b in zip(network.backbone(image).levels, torch_answers(image).levels, strict=True):
            assert torch.allclose(a, b, atol=1e-4)


def test_a_window_is_computed_in_the_precision_around_it() -> None:
    original = make_network("unet3d", "plain")
    image = image_for(original.backbone, batch=1)
    converted = OpenVinoBackbone(original.backbone, image.shape[2:])
    with torch.inference_mode():
        exact = converted(image).levels[-1]
        with autocast(CPU, "bf16"):
            rounded = converted(image).levels[-1]
    error = (rounded - exact).abs().max() / exact.abs().max()
    has_bf16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
    assert (error > 0) == has_bf16  # elsewhere OpenVINO computes in float32
    assert error < 0.1


@pytest.mark.parametrize("model", ["phantom-tiny", "phantom-tiny-2d"])
def test_a_scan_is_segmented_alike_by_both_engines(model: str) -> None:
    scan, options = phantom_volume(), PredictOptions(precision="fp32")
    results = {
        engine: VolumePredictor(find_model(model), device="cpu", engine=engine).segment(
            scan, options
        )
        for engine in ("torch", "openvino")
    }
    a, b = results["torch"], results["openvino"]
    assert np.count_nonzero(a.refined)
    assert np.count_nonzero(a.refined != b.refined) <= 2
    assert np.abs(a.uncertainty - b.uncertainty).max() < 0.02
    assert a.report["engine"] == f"torch {torch.__version__}"
    assert b.report["engine"].startswith("openvino 20")


def test_the_command_line_takes_the_engine(command: CommandLine, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.nii.gz")
    done = command.segment(path, "--engine", "openvino", output=tmp_path / "out")
    assert done.code == 0
    assert read_report(tmp_path / "out" / "a")["engine"].startswith("openvino")


class Odd(nn.Module):
    """Has no operation that the converter knows."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.spec, self.backbone = backbone.spec, backbone

    def forward(self, image: torch.Tensor) -> object:
        return self.backbone(torch.special.bessel_j0(image))


def test_a_backbone_that_cannot_be_converted_stays_with_torch_and_that_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("MorseCore"), "propagate", True)
    network = make_network("unet", "plain", dims=2)
    network.backbone = Odd(network.backbone)
    assert (
        use_engine(network, "openvino", device=CPU, window=(32, 32)) == f"torch {torch.__version__}"
    )
    assert "OpenVINO cannot convert this backbone; torch computes it" in caplog.text
    assert isinstance(network.backbone, Odd)


def test_what_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network("unet", "plain", dims=2)
    with pytest.raises(ConfigError, match="no engine 'tensorrt'; there are torch, openvino"):
        use_engine(network, "tensorrt", device=CPU, window=(32, 32))
    with pytest.raises(DeviceError, match=r"\(--device cpu\); the device is 'cuda:0'"):
        use_engine(network, "openvino", device=torch.device("cuda:0"), window=(32, 32))
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r'not installed: pip install "openvino>=2026"'):
        use_engine(network, "openvino", device=CPU, window=(32, 32))


def test_openvino_is_not_imported_unasked_and_its_telemetry_never() -> None:
    version("openvino-telemetry")  # comes with OpenVINO; without it nothing would be tested
    code = """
import sys
from MorseCore.store.library import find_model
from MorseCore.inference.predictor import VolumePredictor
VolumePredictor(find_model("phantom-tiny"), device="cpu")
assert "openvino" not in sys.modules
VolumePredictor(find_model("phantom-tiny"), device="cpu", engine="openvino")
assert "openvino" in sys.modules
sent = [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module]
assert not sent, sent
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
