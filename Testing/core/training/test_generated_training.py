"""A training from label maps alone: it learns, goes on where it stopped, and can be built upon."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from brain_maps import PLAIN, STRUCTURES, SURROUNDINGS, TISSUES, head, save_map
from MorseCore.commands.cli import main
from MorseCore.config import decode
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.store.model_folder import WindowConfig, load_network, read_model
from MorseCore.training.config import OptimisationConfig, RunConfig
from MorseCore.training.distributed import ALONE
from MorseCore.training.initialise import initialise, with_warm_up
from MorseCore.training.monitor import open_monitor
from MorseCore.training.sources import GeneratedSource
from MorseCore.training.step import WeightAverage, class_weighting, learning_rate
from training_runs import largest_difference, records, run_data, script, stop_after

SMALL = {"name": "strided_unet", "channels": [8, 12, 16]}


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A working directory with five label maps and a configuration."""
    for n in range(5):
        save_map(tmp_path / "labels" / f"map_{n}.nii.gz", head(shift=n))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(configuration()))
    return tmp_path


def configuration(**changes: object) -> dict:
    data = run_data(
        data={"source": "generated", "labels": "labels"},
        generation={
            "structures": STRUCTURES, "surroundings": SURROUNDINGS, "tissues": TISSUES,
            "ranges": PLAIN, "validation_images": 2, "preset": "t1",
            "windows": [{"window": [16, 16, 16], "share": 0.5},
                        {"window": [16, 24, 16], "share": 0.5}],
        },
        preparation={"window": [16, 16, 16], "spacing": [2.0, 2.0, 2.0],
                     "normalisation": "percentile", "percentiles": [1.0, 99.0]},
        network={"spatial_dims": 3, "backbone": SMALL, "head": {"name": "plain"}},
        optimisation={"iterations": 6, "batch_size": 1, "learning_rate": 0.003, "average": 0.9,
                      "class_weighting": "inverse_sqrt", "class_weighting_until": 0.5,
                      "precision": "fp32"},
        validation={"every": 3},
        half_weights=True,
        **changes,
    )  # fmt: skip
    for key in ("dataset", "split"):
        data["data"].pop(key)
    data.pop("augmentation")
    return data


def train(*words: str) -> int:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return script("train").main(["run.json", *words])
    finally:
        torch.set_num_threads(threads)


def weights(home: Path, name: str = "tiny") -> dict[str, torch.Tensor]:
    return load_file(home / "runs" / name / "model" / "weights.safetensors")


def test_a_training_without_an_image_writes_a_model_and_says_so(home: Path):
    assert train() == 0
    folder = home / "runs" / "tiny" / "model"
    info = read_model(folder)
    assert [item.name for item in info.structures] == list(STRUCTURES)
    assert info.training["steps"] == 6
    assert info.training["preliminary"] is False
    assert info.training["splits"] == {"train": 4, "val": 1, "test": 0}
    assert all(value.dtype == torch.float16 for value in weights(home).values())
    load_network(folder, info)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "No image was used" in card
    assert "Label maps: 4 training, 1 validation, 0 test" in card
    found = [r for r in records(home / "runs" / "tiny") if "validation" in r]
    assert [r["step"] for r in found] == [3, 6]
    assert set(found[0]["structures"]) <= set(STRUCTURES)


@pytest.mark.slow
def test_it_learns_to_find_structures_it_never_saw_in_an_image(home: Path):
    assert train("optimisation.iterations=150", "validation.every=150") == 0
    found = next(r for r in records(home / "runs" / "tiny") if "validation" in r)
    assert found["validation"]["refined"]["dice"] > 0.7
    assert found["structures"]["Left part"] > 0.8
    assert found["structures"]["Right part"] > 0.8


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_weights(home: Path):
    assert train("name=whole") == 0
    with stop_after(3):
        assert train("name=halves") == 1
    assert train("name=halves") == 0
    assert largest_difference(weights(home, "whole"), weights(home, "halves")) == 0


def test_a_longer_training_goes_on_where_the_shorter_one_ended(home: Path):
    assert train() == 0
    assert train("optimisation.iterations=8") == 0
    assert read_model(home / "runs" / "tiny" / "model").training["steps"] == 8


def test_a_training_under_way_can_be_exported_and_is_called_preliminary(home: Path):
    with stop_after(4):
        assert train() == 1
    assert train("--export") == 0
    info = read_model(home / "runs" / "tiny" / "model")
    assert info.training["steps"] == 4
    assert info.training["preliminary"] is True
    assert info.title.endswith("preliminary")
    card = (home / "runs" / "tiny" / "model" / "README.md").read_text(encoding="utf-8")
    assert "**Preliminary**: 4 of 6 iterations" in card
    assert train() == 0  # and goes on
    assert read_model(home / "runs" / "tiny" / "model").training["preliminary"] is False


def test_usual_volumes_are_those_of_all_label_maps_and_not_of_the_few_set_aside(home: Path):
    large = head()
    large[10:18, 10:18, 8:14] = 17  # the left core
    for n in (0, 1):
        save_map(home / "labels" / f"map_{n}.nii.gz", large)
    config = decode(RunConfig, json.loads((home / "run.json").read_text()), "")
    source = GeneratedSource(config, ALONE)
    assert source.splits == {"train": 4, "val": 1, "test": 0}
    network = config.network.build(num_classes=len(source.labels))
    volumes = source.facts(network, home).volumes
    [core] = [value for value, name in source.labels.items() if name == "Left core"]
    assert len(volumes[core]) == 60
    assert max(volumes[core]) > 1.3 * min(volumes[core])


def test_nothing_can_be_exported_before_the_first_checkpoint(home: Path, capsys):
    assert train("--export") == 1
    assert "There is no checkpoint in" in capsys.readouterr().err


MORSE = [
    "name=morse", "initialise=runs/tiny/model", "train=head",
    'network.head={"name": "morse", "preset": "custom", "width": 6, "gate_stride": 2, '
    '"gate_depth": 2, "frequencies": 6, "render_width": 12}',
    "optimisation.average=0",
]  # fmt: skip


def test_morse_s_head_is_trained_on_the_frozen_backbone_of_a_plain_model(home: Path, caplog):
    assert train() == 0
    plain = weights(home)
    with caplog.at_level(logging.INFO):
        assert train(*MORSE) == 0
    assert "weights start from 'runs/tiny/model'" in caplog.text
    assert "not reused: head.classify" in caplog.text
    made = weights(home, "morse")
    backbone = {name for name in made if name.startswith("backbone.")}
    assert backbone == {name for name in plain if name.startswith("backbone.")}
    assert all(torch.equal(made[name], plain[name]) for name in backbone)
    info = read_model(home / "runs" / "morse" / "model")
    assert info.training["config"]["initialise"] == "runs/tiny/model"
    load_network(home / "runs" / "morse" / "model", info)


def test_training_goes_on_from_a_model_with_all_weights(home: Path):
    assert train() == 0
    assert train("name=next", "initialise=runs/tiny/model", "optimisation.iterations=1") == 0
    before, after = weights(home), weights(home, "next")
    assert largest_difference(before, after) > 0
    assert largest_difference(before, after) < 0.02  # one step of the warm-up away


def test_a_fresh_optimiser_warms_up(home: Path):
    config = decode(RunConfig, configuration(initialise="x"), "")
    longer = replace(config, optimisation=replace(config.optimisation, iterations=5000))
    assert with_warm_up(longer).optimisation.warmup == 100
    stated = replace(longer, optimisation=replace(longer.optimisation, warmup=7))
    assert with_warm_up(stated).optimisation.warmup == 7
    assert with_warm_up(replace(longer, initialise="")).optimisation.warmup == 0


def test_a_model_that_is_not_there_or_does_not_fit_is_one_sentence(home: Path, capsys):
    assert train("initialise=nowhere") == 2
    assert "'initialise': There is no model 'nowhere'" in capsys.readouterr().err
    network = decode(RunConfig, configuration(), "").network.build(num_classes=6)
    with pytest.raises(ConfigError, match="no weight of 'phantom-tiny' fits"):
        initialise(network, "phantom-tiny")


def test_what_does_not_fit_keeps_its_first_values(home: Path):
    assert train() == 0
    config = decode(RunConfig, configuration(), "")
    network = config.network.build(num_classes=4)  # another number of structures
    before = network.head.classify.weight.detach().clone()
    fresh = initialise(network, "runs/tiny/model")
    assert fresh == ["head.classify.weight", "head.classify.bias"]
    assert torch.equal(network.head.classify.weight, before)
    assert torch.equal(
        network.backbone.stem[0].weight, weights(home)["backbone.stem.0.weight"].float()
    )


def test_classes_are_weighted_until_near_the_end():
    options = OptimisationConfig(
        iterations=10, class_weighting="inverse_sqrt", class_weighting_until=0.8
    )
    assert [class_weighting(step, options) for step in (0, 7, 8, 9)] == [
        "inverse_sqrt", "inverse_sqrt", "none", "none",
    ]  # fmt: skip


def test_the_rate_is_held_before_it_falls():
    options = OptimisationConfig(
        iterations=100, learning_rate=1.0, decay="cosine", hold=0.5, warmup=0
    )
    rates = [learning_rate(step, options) for step in (0, 49, 50, 75, 99)]
    assert rates[:3] == [1.0, 1.0, 1.0]
    assert rates[3] == pytest.approx(0.5)
    assert 0 < rates[4] < 0.01
    always = replace(options, hold=1.0)
    assert learning_rate(99, always) == 1.0


def test_the_average_follows_fast_at_first_and_stands_in_for_the_weights():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, decay=0.5)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    expected = float(average.state_dict()["average"]["weight"])
    for n in range(1, 5):
        average.update()
        expected += (1 - min(0.5, n / (n + 9))) * (1 - expected)
    with average.in_place():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 1.0
    other = WeightAverage(torch.nn.Linear(1, 1, bias=False), decay=0.5)
    other.load_state_dict(average.state_dict())
    assert other.state_dict()["updates"] == 4
    assert float(other.state_dict()["average"]["weight"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": {"source": "generated"}}, "'labels' is needed where 'source' is 'generated'"),
        ({"data": {"source": "images", "labels": "labels"}}, "'dataset' is needed"),
        ({"preparation": {"normalisation": "range"}}, "have no unit"),
        ({"sampler": {"name": "precomputed"}}, "choose another sampler"),
        ({"generation": {"windows": [{"window": [16, 16, 16], "share": 0.5}]}}, "sum to one"),
        ({"generation": {"windows": [{"window": [15, 16, 16], "share": 1.0}]}}, "multiple of 4"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_sentence(home, capsys, changes, expected):
    data = configuration()
    for section, values in changes.items():
        data[section] = values if section in ("data", "sampler") else data[section] | values
    (home / "run.json").write_text(json.dumps(data))
    assert train() == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error


def test_a_bad_label_map_is_found_before_the_training(home: Path, capsys):
    labels = head()
    labels[0, 0, 0] = 99
    save_map(home / "labels" / "map_1.nii.gz", labels)
    assert train() == 1
    assert "'map_1' holds the label 99" in capsys.readouterr().err
    assert not (home / "runs" / "tiny" / "metrics.jsonl").exists()


def monitored(home: Path, **changes: object) -> Path:
    """A list of one scan: the first label map's own image, with the map itself as reference."""
    save_map(home / "scan.nii.gz", head())
    reference = {
        "name": "other", "labels": "labels/map_0.nii.gz",
        "structures": {"2": ["Left part"], "17": ["Left core", "Right core"]},
    } | changes  # fmt: skip
    case = {"name": "scan", "image": "scan.nii.gz", "references": [reference]}
    (home / "monitor.json").write_text(json.dumps({"cases": [case]}))
    return home / "monitor.json"


def test_real_scans_are_watched_and_decide_nothing(home: Path):
    monitored(home)
    assert train("validation.monitor=monitor.json", "validation.monitor_every=3") == 0
    looks = [r for r in records(home / "runs" / "tiny") if "monitor" in r]
    assert [r["step"] for r in looks] == [3, 6]
    assert (home / "runs" / "tiny" / "curves.png").stat().st_size > 10_000
    assert (home / "runs" / "tiny" / "worst.png").stat().st_size > 10_000
    dice = looks[-1]["monitor"]["scan"]["other"]
    assert set(dice) == {"Left part", "Left core and 1 more", "mean"}
    assert train("name=blind") == 0
    assert largest_difference(weights(home), weights(home, "blind")) == 0


def _open(home: Path, path: Path):
    config = decode(RunConfig, configuration(), "")
    names = GeneratedSource(config, ALONE).labels
    return open_monitor(
        path, names, preparation=config.preparation, windows=WindowConfig(), precision="fp32"
    )


def test_a_list_of_scans_that_makes_no_sense_is_one_sentence(home: Path, caplog):
    with pytest.raises(ConfigError, match=r"'Left cor', which the model .* \(did you mean"):
        _open(home, monitored(home, structures={"2": ["Left cor"]}))
    with pytest.raises(ConfigError, match="labels are whole numbers"):
        _open(home, monitored(home, structures={"x": ["Left core"]}))
    with pytest.raises(DatasetError, match=r"'gone\.nii\.gz', which does not exist"):
        _open(home, monitored(home, labels="gone.nii.gz"))
    path = monitored(home, labels="gone.nii.gz")
    (home / "scan.nii.gz").unlink()
    assert _open(home, path) is None
    assert "the training is not monitored" in caplog.text


def test_the_preview_draws_and_times_every_stage(home: Path, capsys):
    assert main(["preview", "run.json", "--output", "grid.png"]) == 0
    assert (home / "grid.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "5 structures, 9 labels" in text
    for stage in ("shape", "labels", "intensities", "bias", "resolution", "noise", "normalise"):
        assert f"{stage} " in text
    assert main(["preview", "labels", "--output", "other.png", "--preset", "t1"]) == 0
    assert (home / "other.png").stat().st_size > 10_000


def test_a_preview_of_nothing_is_one_sentence(home: Path, capsys):
    assert main(["preview", "nowhere"]) == 1
    assert "'nowhere' does not exist" in capsys.readouterr().err
    (home / "images.json").write_text(json.dumps(run_data()))
    assert main(["preview", "images.json"]) == 2
    assert "there is nothing to preview" in capsys.readouterr().err
    assert not (home / "grid.png").exists()
