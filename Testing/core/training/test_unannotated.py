"""A structure that was not drawn in a case is not taken for absent: the loss says nothing of it."""

import json
from pathlib import Path

import pytest
import torch

from data_sets import write_dataset
from MorseCore.errors import DatasetError
from MorseCore.losses import Targets, point_cross_entropy, region_loss
from MorseCore.training.dataset import open_dataset
from MorseCore.training.samples import CropDataset
from training_runs import phantom_cases, run_config


def test_background_takes_the_probability_of_what_was_not_drawn():
    logits = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])[:, None]  # (B, P, C)
    hidden = torch.tensor([[False, False, True], [False, False, False]])
    targets = Targets(torch.zeros(2, 1, dtype=torch.int64), unannotated=hidden)
    merged = targets.merge_unannotated(logits, axis=2).softmax(2)
    plain = logits.softmax(2)
    assert merged[0, 0, 0] == pytest.approx(float(plain[0, 0, 0] + plain[0, 0, 2]))
    assert merged[0, 0, 2] == 0
    assert torch.allclose(merged[1], plain[1])


def test_the_loss_does_not_pull_at_what_was_not_drawn():
    """Where a network is sure of the hidden structure, 'background' is as right as can be."""
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :2] = 1
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 1, :2] = 20.0
    logits[0, 2, 2:] = 20.0  # the hidden structure, drawn as background
    hidden = torch.tensor([[False, False, True]])
    merged = Targets(labels, unannotated=hidden).merge_unannotated(logits, axis=1)
    assert region_loss(merged, labels) < 0.2  # the class is in no label: its Dice term is left
    assert region_loss(logits, labels) > 1.0
    points = merged.flatten(2).transpose(1, 2)
    assert point_cross_entropy(points, labels.flatten(1)) < 1e-3


def test_samples_say_what_was_not_drawn_and_nothing_else_changes():
    first, second = phantom_cases(1, 2)
    config = run_config()

    def drawn(cases):
        return CropDataset(cases, (16, 16, 16), augmentation=config.augmentation, length=2,
                           seed=1, oversample=0.5)  # fmt: skip

    plain = drawn([first, second])
    partial = drawn([first, type(second)(**{**vars(second), "unannotated": (2,)})])
    assert plain[0].targets.unannotated is None
    marks = [partial[n].unannotated.nonzero().flatten().tolist() for n in range(2)]
    assert sorted(marks) == [[], [2]]
    assert all(torch.equal(plain[n].image, partial[n].image) for n in range(2))
    assert plain.digest != partial.digest


@pytest.mark.parametrize(
    ("structure", "split", "expected"),
    [
        ("ball", {"train": ["case_b"], "val": ["case_a"]},
         "The case 'case_a' of 'val' is not annotated for 'ball' and cannot be scored"),
        ("bal", {"train": ["case_a"]},
         "The case 'case_a' is said to lack 'bal', which is no label of the data set "
         "(did you mean 'ball'?)"),
    ],
)  # fmt: skip
def test_a_case_that_is_not_annotated_can_only_train(
    tmp_path: Path, structure: str, split: dict, expected: str
):
    dataset, splits = write_dataset(tmp_path, split)
    data = json.loads(dataset.read_text(encoding="utf-8"))
    data["training"][0]["unannotated"] = [structure]
    dataset.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        open_dataset(dataset, splits)
    assert expected in str(caught.value)
