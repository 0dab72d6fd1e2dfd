"""``worst.png``: the case of the last validation that went worst, where it went worst."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.training.curves import WORST, _worst_slice, draw_worst
from MorseCore.training.validation import CaseValidation, SeenCase, Validator, WorstCase
from training_runs import SIDE, flat_config, make_trainer, phantom_cases, run_config


def seen(name: str = "case", *, dice: float = 0.5, wrong: int = 5) -> SeenCase:
    """A square on every slice, of which the mask misses more on one."""
    labels = np.zeros((8, 20, 30), np.uint8)
    labels[:, 5:15, 5:20] = 1
    mask = labels.copy()
    mask[:, 5, 5] = 0
    mask[wrong, 5:12] = 0
    image = labels * 1.0 + np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return SeenCase(name, image.astype(np.float32), labels, mask, (3.0, 1.0, 0.5), dice)


def pixels(picture: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(picture)))[..., :3].astype(int)


def coloured(picture: Path, rgb: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(picture) - rgb).max(axis=-1) < 12).sum())


def test_the_slice_is_the_one_with_most_wrong_voxels():
    assert _worst_slice(seen(wrong=5)) == 5
    right = seen()
    labels = right.labels.copy()
    labels[2, 0] = 1
    assert _worst_slice(replace(right, labels=labels, mask=labels)) == 2


def test_the_picture_shows_what_was_drawn_and_what_was_found(tmp_path: Path):
    draw_worst(seen("a $case_1"), tmp_path / "worst.png", step=30)
    assert coloured(tmp_path / "worst.png", (0x00, 0xD7, 0xFF)) > 100
    assert coloured(tmp_path / "worst.png", (0xFF, 0x5A, 0x3C)) > 100
    assert [path.name for path in tmp_path.iterdir()] == ["worst.png"]


def test_nothing_found_leaves_the_outline_of_what_was_drawn(tmp_path: Path):
    case = seen()
    draw_worst(replace(case, mask=np.zeros_like(case.mask)), tmp_path / "worst.png", step=30)
    assert coloured(tmp_path / "worst.png", (0x00, 0xD7, 0xFF)) > 100


def test_the_worst_of_all_is_pictured_by_the_process_that_saw_it():
    one, other = WorstCase(), WorstCase()
    one.see(seen("a", dice=0.5))
    one.see(seen("b", dice=0.4))
    other.see(seen("c", dice=0.3))
    assert one.if_called("c") is None
    assert other.if_called("c").name == "c"


@pytest.mark.parametrize("dims", [2, 3])
def test_the_case_with_the_lowest_dsc_is_the_worst(dims: int):
    config = run_config() if dims == 3 else flat_config()
    network = config.network.build(num_classes=3)
    validator = Validator(
        config.preparation.window_size, config.renderer.build(), config.windows, [1, 2]
    )
    good, bad = phantom_cases(1, 2, dims=dims)
    # The worst case's labels are those that this network never finds.
    found = validator.scores(network, [good, bad], seen=(shown := []).append)["refined"]
    good = replace(good, labels=shown[0].mask)
    figures = CaseValidation(validator, [good, bad]).measure(network)
    assert figures.worst.name == bad.name
    assert figures.worst.dice == pytest.approx(
        np.mean([score.dice for score in found[1].structures.values()])
    )
    assert figures.worst.mask.shape == bad.labels.shape == ((1,) * (3 - dims) + (SIDE,) * dims)


def test_every_validation_overwrites_it(tmp_path: Path):
    config = flat_config(validation={"every": 1}, optimisation={"iterations": 2})
    train, val = phantom_cases(1, 2, dims=2)
    trainer = make_trainer(config, tmp_path, train=[train], val=[val])
    (tmp_path / WORST).write_bytes(b"old")
    assert trainer.run()
    assert pixels(tmp_path / WORST).shape[0] > 300
