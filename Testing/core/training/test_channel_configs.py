"""What cannot be done with several images of a case is refused before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from channel_data import write_raw
from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, read_model
from MorseCore.system.files import write_json
from MorseCore.training.augmentation import AugmentationConfig, augment
from MorseCore.training.distributed import ALONE
from MorseCore.training.sources import open_source
from MorseCore.training.verdicts import ReadCases
from training_runs import run_config

TWO = [{"normalisation": "zscore"}, {"normalisation": "percentile"}]
SEES_TWO = {"preparation": {"channels": TWO}, "network": {"in_channels": 2}}


def test_a_configuration_says_of_each_channel_what_its_intensities_are():
    config = run_config(**SEES_TWO)
    assert [one.normalisation for one in config.preparation.by_channel()] == [
        "zscore", "percentile",
    ]  # fmt: skip
    assert decode(type(config), encode(config), "") == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": {"in_channels": 3}},
         "'network.in_channels' must be 2, as 'preparation.channels' describes 2; found 3."),
        ({"validation": {"monitor": "scans.json"}},
         "'validation.monitor' watches scans of one image; 'preparation.channels' describes 2."),
        ({"data": {"source": "generated", "labels": "maps"}},
         "Generated images have one channel; 'preparation.channels' is for scans."),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], sentence: str):
    merged = {key: value | changes.get(key, {}) for key, value in SEES_TWO.items()}
    with pytest.raises(ConfigError) as caught:
        run_config(**{**changes, **merged})
    assert sentence in str(caught.value)


def test_a_network_of_one_image_does_not_learn_from_two(tmp_path: Path):
    data = write_raw(tmp_path / "raw", 2)
    write_json(data / "splits.json", {"train": ["case0"], "val": ["case1"]})
    paths = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    with pytest.raises(ConfigError, match=r"has 2 channel\(s\) \(T1, T2\), and the .* is for 1"):
        open_source(run_config(data=paths), ALONE)


def info_of_two(**changes: Any) -> ModelInfo:
    data = encode(read_model(find_model("phantom-tiny")))
    data["preparation"]["channels"] = TWO
    data["network"]["in_channels"] = 2
    return decode(ModelInfo, data | {"channels": ["T1", "T2"], "format": 2} | changes, "")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": None}, "'channels' must name 2 images"),
        ({"channels": ["T1"]}, "'channels' must name 2 images"),
        ({"channels": ["T1", "T1"]}, "'channels' must have different names"),
        ({"locator": {"model": "brain-mr", "structures": ["Left Hippocampus"]}},
         "'locator' is for models that see one image"),
        ({"format": 1}, "'channels' belongs to format 2; found format 1"),
    ],
)  # fmt: skip
def test_a_model_folder_that_contradicts_itself_is_refused(changes: dict[str, Any], sentence: str):
    assert info_of_two().channels == ("T1", "T2")
    with pytest.raises(ConfigError) as caught:
        info_of_two(**changes)
    assert sentence in str(caught.value)


def test_the_fit_of_a_verdict_refuses_several_images():
    with pytest.raises(ConfigError, match="sees 2 images of a case, and scans are spoilt one at"):
        ReadCases(info_of_two())


def test_channels_share_the_geometry_and_draw_their_own_intensities():
    image = torch.randn(1, 12, 12, 12).expand(2, -1, -1, -1)
    labels = torch.zeros(12, 12, 12, dtype=torch.long)
    options: dict[str, Any] = {"crop": (8, 8, 8), "center": (5.5,) * 3}
    turned = replace(AugmentationConfig.none(), rotation_probability=1)
    for config, are_alike in ((turned, True), (replace(turned, gamma_probability=1), False)):
        generator = torch.Generator().manual_seed(4)
        found, _ = augment(image, labels, config=config, generator=generator, **options)
        assert torch.equal(found[0], found[1]) is are_alike
