"""What a training run leaves behind can be used, and says honestly where it comes from."""

import json
from pathlib import Path

import pytest
import torch

from MorseCore.config import encode
from MorseCore.errors import ConfigError, ModelError
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.system.files import sha256
from MorseCore.training.config import RunConfig
from MorseCore.training.export import describe_structures, export_model, measure_cases
from MorseCore.training.validation import DataFacts, Validator
from training_runs import phantom_cases, run_config

LABELS = {0: "background", 1: "ball", 2: "rod"}


def exported(folder: Path, config: RunConfig, *, val: int = 1, test: int = 2) -> dict:
    torch.manual_seed(0)
    network = config.network.build(num_classes=3)
    validator = Validator((16, 16, 16), config.renderer.build(), config.windows, [1, 2])
    cases = {
        "validation": phantom_cases(*range(val)), "test": phantom_cases(*range(10, 10 + test)),
    }  # fmt: skip
    figures = {
        name: measure_cases(folder.parent / f"scores-{name}.csv", network, validator, part, LABELS)
        for name, part in cases.items()
        if part
    }
    facts = DataFacts(
        LABELS, {"train": 5, "val": val, "test": test}, "CC0 of the phantoms", figures,
        (16.0, 17.0, 18.0),
    )  # fmt: skip
    export_model(folder, config, facts, network, command="python Training/train.py run.json")
    return figures


def test_the_model_folder_can_be_read_and_used(tmp_path: Path):
    config = run_config()
    exported(tmp_path / "model", config)
    info = read_model(tmp_path / "model")
    assert info.sha256 == sha256(tmp_path / "model" / "weights.safetensors")
    assert (info.name, info.preparation, info.network) == (
        "tiny",
        config.preparation,
        config.network.filled(config.network.build(num_classes=3)),
    )
    assert (info.renderer, info.windows) == (config.renderer, config.windows)
    assert info.field_of_view == (16.0, 17.0, 18.0)
    assert [(item.value, item.name) for item in info.structures] == [(1, "ball"), (2, "rod")]
    network = load_network(tmp_path / "model", info)
    field = network(torch.zeros(1, 1, 16, 16, 16))
    assert field.logits(torch.zeros(1, 5, 3)).shape == (1, 5, 3)


def test_the_model_folder_says_the_sizes_that_a_preset_stands_for(tmp_path: Path):
    """So that the model stays what it is if the preset changes; no weight knows a stride."""
    config = run_config(network={"spatial_dims": 3, "head": {"name": "morse", "preset": "default"},
                                 "backbone": {"name": "unet3d", "channels": [4, 8]}})  # fmt: skip
    exported(tmp_path / "model", config)
    head = json.loads((tmp_path / "model" / "model.json").read_text())["network"]["head"]
    sizes = ("experts", "width", "gate_stride", "render_width")
    assert tuple(head[name] for name in sizes) == (1, 32, 4, 128)


def test_altered_weights_are_noticed(tmp_path: Path):
    exported(tmp_path, run_config(), val=0, test=0)
    path = tmp_path / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="altered or damaged"):
        read_model(tmp_path)


def test_the_model_tells_how_it_was_made(tmp_path: Path):
    config = run_config()
    figures = exported(tmp_path, config)
    training = read_model(tmp_path).training
    assert training["config"] == encode(config)
    assert training["splits"] == {"train": 5, "val": 1, "test": 2}
    assert training["figures"] == figures
    assert training["command"] == "python Training/train.py run.json"
    assert training["data"] == config.card.data
    assert training["versions"]["torch"] == torch.__version__


def test_the_card_names_data_licences_splits_command_and_figures(tmp_path: Path):
    config = run_config(card={"limits": "Phantoms only."})
    figures = exported(tmp_path, config)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for text in (
        "# Tiny phantom", "Phantoms of this repository.", "Licence of the weights: Apache-2.0",
        "Licence of the data set: CC0 of the phantoms", "5 training, 1 validation, 2 test",
        "`python Training/train.py run.json`", "seed 1337", "Limits: Phantoms only.",
    ):  # fmt: skip
        assert text in card
    row = figures["test"]["refined"]["ball"]
    assert f"| test | refined | ball | {row['dice']:.4f} | {row['jaccard']:.4f} |" in card
    assert "best mean DSC on the validation split" in card


def test_a_missed_structure_is_counted_per_case_and_in_the_mean_over_all(tmp_path: Path):
    figures = exported(tmp_path, run_config())
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    row, mean = figures["test"]["coarse"]["rod"], figures["test"]["coarse"]["mean"]
    assert f"| {row['missed']} of 2 |" in card
    assert f"| {mean['missed']} of 4 |" in card


def test_without_a_split_there_is_no_figure_for_it(tmp_path: Path):
    figures = exported(tmp_path / "a", run_config(), val=0, test=1)
    assert set(figures) == {"test"}
    assert "nothing was chosen" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert exported(tmp_path / "b", run_config(), val=0, test=0) == {}
    assert "Nothing: the data set has no" in (tmp_path / "b" / "README.md").read_text(
        encoding="utf-8"
    )


def test_the_last_weights_are_not_called_the_best(tmp_path: Path):
    exported(tmp_path, run_config(validation={"keep": "last"}))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "The weights are the last ones; nothing was chosen." in card


def test_structures_are_named_and_coloured_as_the_card_says():
    described = {
        "ball": {
            "name": "Left ball",
            "color": [0.1, 0.2, 0.3],
            "terminology": "T^1",
            "freesurfer": 17,
        }
    }
    ball, rod = describe_structures(run_config(card={"structures": described}), LABELS)
    assert (ball.name, ball.color, ball.terminology) == ("Left ball", (0.1, 0.2, 0.3), "T^1")
    assert ball.freesurfer == 17
    assert rod.name == "rod"
    assert rod.color != ball.color


def test_a_structure_that_the_data_set_lacks_is_named():
    with pytest.raises(ConfigError, match=r"describes 'bal', .*did you mean 'ball'"):
        describe_structures(run_config(card={"structures": {"bal": {}}}), LABELS)
