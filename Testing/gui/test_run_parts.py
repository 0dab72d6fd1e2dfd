"""The parts of a run that have no widgets."""

from pathlib import Path

import numpy as np
import pytest

from MorseSegmentLib.logic.inputs import writeInSteps
from MorseSegmentLib.worker.catalog import Model

A_MODEL = Model("m", "M", "", points=1000, passes=2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_volume_is_written_in_steps_and_read_whole(tmp_path: Path, order: str) -> None:
    voxels = np.asarray(np.arange(4000, dtype=np.int16).reshape(10, 20, 20), order=order)
    path = tmp_path / "image.npy"
    steps = sum(1 for _ in writeInSteps(path, voxels, piece=1000))
    assert steps == 8
    np.testing.assert_array_equal(np.load(path), voxels)


def test_a_full_disk_is_an_error_and_not_a_crash() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("NOT TESTED: this system has no /dev/full")
    with pytest.raises(OSError, match="space"):
        list(writeInSteps(Path("/dev/full"), np.zeros((100, 100, 100))))


def test_more_quality_never_costs_less_and_level_3_is_the_model_s_own() -> None:
    costs = [A_MODEL.relativeCost(level) for level in range(7)]
    assert costs == sorted(costs)
    assert costs[0] == 0
    assert A_MODEL.rendering(3) == (1000, 2)
    assert costs[6] == 8


def test_a_broken_model_says_why() -> None:
    model = Model.fromAnswer({"name": "m", "folder": "/m", "broken": "It is damaged."})
    assert model.problem == "It is damaged."
