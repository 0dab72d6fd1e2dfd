"""Scans and images generated from their label maps in one training: contrasts no scan has."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from brain_maps import PLAIN
from MorseCore.commands.cli import main
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.images.imageio import read_volume, write_labels
from MorseCore.store.model_folder import read_card, read_model
from MorseCore.training.dataset import open_dataset, prepare_case
from MorseCore.training.distributed import ALONE
from MorseCore.training.phantoms import write_phantom_dataset
from MorseCore.training.samples import CropDataset, MixedSamples
from MorseCore.training.sources import training_samples
from train_command import train
from training_runs import largest_difference, records, run_config, stop_after

SETTINGS = {
    "generation": {"ranges": PLAIN},
    "preparation": {"window": [16, 16, 16], "spacing": [1.0, 1.0, 1.0],
                    "normalisation": "percentile", "percentiles": [1.0, 99.0]},
    "optimisation": {"iterations": 20, "batch_size": 2},
}  # fmt: skip
WORDS = (
    "data.generated_share=0.5", 'preparation.normalisation="percentile"',
    "preparation.percentiles=[1, 99]", "optimisation.batch_size=2", "validation.every=2",
)  # fmt: skip


def samples(data: Path, share: float, **changes: object):
    config = run_config(
        data={"dataset": "d", "split": "s", "generated_share": share}, **SETTINGS | changes
    )
    found = open_dataset(data / "dataset.json", data / "splits.json")
    cases = [prepare_case(c, config.preparation, num_classes=3) for c in found.splits["train"]]
    return training_samples(config, found, cases, ALONE)


def test_each_batch_is_of_one_kind_and_the_share_is_as_asked(data: Path):
    mixed = samples(data, 0.5)
    assert isinstance(mixed, MixedSamples)
    kinds = [bool(mixed[n].shares.numel()) for n in range(40)]
    assert kinds[::2] == kinds[1::2]  # two samples a batch
    assert 5 < sum(kinds[::2]) < 15
    again = samples(data, 0.5)
    for n in (7, 3, 30):
        assert all(torch.equal(x, y) for x, y in zip(again[n], mixed[n], strict=True))


def test_a_share_of_none_draws_the_very_samples_of_a_training_without(data: Path):
    plain, mixed = samples(data, 0.0), samples(data, 0.5)
    assert isinstance(plain, CropDataset)
    scans = [n for n in range(40) if not mixed[n].shares.numel()]
    for n in scans:
        assert all(torch.equal(x, y) for x, y in zip(plain[n], mixed[n], strict=True))


def test_generated_images_hold_the_data_set_s_own_labels_in_other_contrasts(data: Path):
    mixed = samples(data, 1.0)
    brightest = set()
    for n in range(12):
        image, labels = mixed[n].image[0], mixed[n].labels
        assert set(labels.unique().tolist()) <= {0, 1, 2}
        means = [float(image[labels == value].mean()) for value in (0, 1)]
        brightest.add(means[1] > means[0])
    assert brightest == {True, False}  # the ball is bright or dark; in the scans it is one of both


def test_what_was_not_annotated_is_not_drawn_as_background(data: Path, tmp_path: Path):
    table = json.loads((data / "dataset.json").read_text(encoding="utf-8"))
    structure = table["labels"]["2"]
    for entry in table["training"]:
        entry |= {key: str(data / entry[key]) for key in ("image", "label")}
        entry["unannotated"] = [structure]
    for key in ("test", "test_labels"):
        table.pop(key, None)
    names = [Path(entry["image"]).name.split(".")[0] for entry in table["training"]]
    (tmp_path / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    (tmp_path / "splits.json").write_text(json.dumps({"train": names}), encoding="utf-8")
    with pytest.raises(DatasetError, match="In every training case a structure is not annotated"):
        samples(tmp_path, 0.5)


def test_a_case_without_a_structure_is_learned_from_and_not_drawn_from(tmp_path: Path):
    data = write_phantom_dataset(tmp_path, cases=(2, 1, 0), shape=(16, 16, 16)).parent
    entry = json.loads((data / "dataset.json").read_text(encoding="utf-8"))["training"][0]
    empty = read_volume(data / entry["label"])
    write_labels(data / entry["label"], np.zeros(empty.array.shape, np.uint8), empty.geometry)
    mixed = samples(data, 0.5)
    for n in range(12):
        assert mixed[n].shares.numel() == 0 or mixed[n].labels.any()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"preparation": {"normalisation": "range"}}, "Generated intensities have no unit"),
        ({"generation": {"structures": {"a": [1]}}}, "beside scans the data set names the"),
        ({"data": {"generated_share": 1.5}}, "generated_share"),
        ({"data": {"generated_share": 0.5, "source": "generated", "labels": "x"}},
         "'generated_share' is of 'images'"),
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_is_refused_before_anything_is_read(changes: dict, expected: str):
    data = {"dataset": "d", "split": "s", "generated_share": 0.5} | changes.pop("data", {})
    with pytest.raises(ConfigError, match=expected):
        run_config(data=data, **changes)


def test_a_mixed_training_goes_on_to_the_same_bits_and_says_what_it_learned_from(home: Path):
    assert train(*WORDS, "name=whole") == 0
    with stop_after(3):
        assert train(*WORDS, "name=halves") == 1
    assert train(*WORDS, "name=halves") == 0
    first, second = (
        load_file(home / "runs" / name / "model" / "weights.safetensors")
        for name in ("whole", "halves")
    )
    assert largest_difference(first, second) == 0
    model = home / "runs" / "whole" / "model"
    assert "50% of the training batches were no scans" in read_card(model)
    assert read_model(model).training["figures"]["validation"]  # on the scans set aside
    assert main(["preview", str(home / "runs" / "whole" / "config.json")]) == 0
    assert (home / "grid.png").is_file()
    assert train(*WORDS, "name=plain", "data.generated_share=0") == 0
    losses = {name: [r["total"] for r in records(home / "runs" / name) if "total" in r]
              for name in ("whole", "plain")}  # fmt: skip
    assert losses["whole"] != losses["plain"]


def test_a_resumed_run_with_another_share_is_refused(home: Path, capsys):
    assert train(*WORDS) == 0
    assert train(*WORDS, "data.generated_share=0.25") == 2
    assert "data.generated_share (was 0.5, is 0.25)" in capsys.readouterr().err
