"""``--from MODEL``: a plan takes what a model's weights need, and the training starts from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from channel_data import write_raw
from MorseCore.config import encode
from MorseCore.errors import ConfigError
from MorseCore.planning.making import make_plan
from MorseCore.planning.planfile import Plan, run_config
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model
from MorseCore.training.initialise import initialise
from own_data import write_folders
from train_command import train

QUICK = ("device=cpu", "sampler.points=64", "renderer.points=64")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("own") / "My scans", 4)


def plan(data: Path, *overrides: str) -> Plan:
    def bar(items: Sequence[Any], _: str) -> Sequence[Any]:
        return items

    return make_plan(data, hours=0.005, name="mine", overrides=[*QUICK, *overrides], bar=bar)


@pytest.fixture(scope="module")
def planned(data: Path) -> Plan:
    return plan(data, "initialise=phantom-tiny")


def test_network_spacing_and_intensities_are_the_models(planned: Plan) -> None:
    info = read_model(find_model("phantom-tiny"))
    training = planned.training
    assert training["network"]["backbone"] == encode(info.network)["backbone"]
    assert training["network"]["head"] == encode(info.network)["head"]
    assert tuple(training["preparation"]["spacing"].values()) == info.preparation.spacing
    assert training["preparation"]["normalisation"] == info.preparation.normalisation
    assert planned.why["network"] == "As in 'phantom-tiny', so that its weights fit."
    assert not {"network.backbone.channels", "preparation.intensity_range"} & set(planned.why)
    assert [trial["size"] for trial in planned.trial] == ["that of 'phantom-tiny'"]


def test_all_weights_fit_but_those_that_name_structures(planned: Plan, tmp_path: Path) -> None:
    config = run_config(planned, tmp_path)
    network = config.network.build(num_classes=4)
    fresh = initialise(network, config.initialise)
    assert fresh
    assert len(fresh) < 0.3 * len(network.state_dict())
    assert not any(name.startswith("backbone") for name in fresh)


def test_the_window_is_no_larger_than_the_images_and_the_network_can_halve_it(
    planned: Plan, tmp_path: Path
) -> None:
    config = run_config(planned, tmp_path)
    info = read_model(find_model("phantom-tiny"))
    window, most = config.preparation.window, info.preparation.window
    assert all(a <= b for a, b in zip(window, most, strict=True))
    config.network.build(num_classes=4).check_size(window[::-1], what="the window")


def test_the_head_of_a_model_without_points_is_the_plans_own(data: Path) -> None:
    start = plan(data, "initialise=brain-mr", "preparation.window=" + '{"R": 32, "A": 32, "S": 32}')
    assert start.training["network"]["backbone"]["name"] == "strided_unet"
    assert start.training["network"]["head"]["name"] == "morse"
    assert start.training["preparation"]["spacing"] == {"R": 2.0, "A": 2.0, "S": 2.0}


def test_a_model_of_one_image_gives_all_but_its_first_convolution_to_two(tmp_path: Path) -> None:
    start = plan(write_raw(tmp_path / "raw", 3), "initialise=phantom-tiny")
    assert start.training["network"]["in_channels"] == 2
    assert start.why["network.in_channels"] == (
        "A case has 2 image(s) and 'phantom-tiny' sees 1: the first convolution is not reused, and "
        "intensities are this plan's."
    )
    assert start.why["preparation.channels.T1"].startswith("Brightness differs")
    network = run_config(start, tmp_path).network.build(num_classes=3)
    fresh = [n for n in initialise(network, "phantom-tiny") if n.startswith("backbone")]
    layers = {name.rpartition(".")[0] for name in fresh}  # what it is normalised by, too
    assert layers == {"backbone.encoders.0.0", "backbone.encoders.0.1"}


@pytest.mark.parametrize(
    ("model", "sentence"),
    [("phantom-tiny-2d", "is for slices, and these data are learned as volumes"),
     ("phantom-tyni", "did you mean 'phantom-tiny'")],
)  # fmt: skip
def test_a_model_that_does_not_suit_is_refused(data: Path, model: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        plan(data, f"initialise={model}")


def test_the_command_trains_from_a_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["name=mine", "optimisation.iterations=4", "validation.every=4", *QUICK]
    code = train(*words, "--from", "phantom-tiny", "--hours", "0.005", config=str(data))
    assert code == 0
    assert "weights start from 'phantom-tiny'" in caplog.text + _log_of(tmp_path)
    info = read_model(tmp_path / "runs" / "mine" / "model")
    assert [s.name for s in info.structures] == ["liver", "left kidney", "spleen"]


def _log_of(folder: Path) -> str:
    return (folder / "runs" / "mine" / "train.log").read_text(encoding="utf-8")
