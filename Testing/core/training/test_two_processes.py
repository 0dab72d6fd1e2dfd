"""Two real processes, started by torchrun, compute what one does and never wait for ever."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import (
    REPOSITORY,
    flat_config,
    largest_difference,
    losses_of,
    make_trainer,
    path_of,
    phantom_cases,
    records,
    run_data,
    torchrun,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = REPOSITORY / "Testing" / "helpers" / "two_processes.py"
    done = torchrun([str(script), str(folder)], cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict]:
    return [json.loads((folder / f"result-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> Path:
    """The same run by one process that takes two batches a step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("one")
    config = flat_config(optimisation={"iterations": 8, "learning_rate": 0.003, "accumulate": 2})
    train, val = phantom_cases(0, 1, 2, dims=2), phantom_cases(9, 10, 11, dims=2)
    assert make_trainer(config, folder, train=train, val=val).run()
    torch.set_num_threads(threads)
    return folder


def test_values_are_exchanged(results):
    for result in (result["exchange"] for result in results):
        assert result["total"] == [3.0, 30.0]
        assert result["mean"] == [1.5, 15.0]
        assert result["any"] == [True, False]
        assert result["copied"] == [5.0, 5.0, 5.0]
        assert result["kept"]


def test_two_processes_have_the_losses_of_one_that_takes_two_batches(folder, one_process):
    two, one = losses_of(folder / "together"), losses_of(one_process)
    assert len(two) == 8
    assert two == pytest.approx(one, abs=1e-5)
    assert any("rend" in record for record in records(folder / "together"))  # both halves of a run


def test_two_processes_end_with_the_same_weights_and_with_those_of_one(folder, one_process):
    ranks = [load_file(folder / "together" / f"rank-{rank}.safetensors") for rank in (0, 1)]
    assert largest_difference(*ranks) == 0
    alone = load_file(one_process / "weights-8.safetensors")
    assert largest_difference(ranks[0], alone) < 1e-3  # AdamW magnifies the last bits of a gradient


def test_a_validation_that_is_shared_out_has_the_scores_of_one_process(folder, one_process):
    two, one = (
        [record["validation"] for record in records(place) if "validation" in record]
        for place in (folder / "together", one_process)
    )
    assert len(two) == 2
    for shared, alone in zip(two, one, strict=True):
        for stage, means in alone.items():
            assert shared[stage] == pytest.approx(means, abs=0.05)


def test_if_one_is_told_to_stop_all_stop_at_the_same_step(folder, results):
    steps = [result["stopped"]["step"] for result in results]
    assert steps[0] == steps[1] > 0
    assert not any(result["stopped"]["finished"] for result in results)
    assert json.loads((folder / "stopped" / "state.json").read_text())["step"] == steps[0]


def test_a_step_that_one_cannot_take_is_skipped_by_all(results):
    first, second = (result["skipping"] for result in results)
    assert first == second
    assert first["skipped"] == 4  # of 8: the spoiled case comes once in four samples


def test_processes_that_see_different_checkpoints_refuse_to_go_on(results):
    for result in results:
        assert "do not see the same checkpoint" in result["apart"]["error"]


def test_if_the_main_process_fails_the_other_does_not_wait_for_ever(tmp_path: Path):
    write_phantom_dataset(tmp_path / "data", cases=(2, 1, 1), shape=(16, 16, 16))
    (tmp_path / "run.json").write_text(json.dumps(run_data()), encoding="utf-8")
    (tmp_path / "runs" / "tiny" / "state.json").mkdir(parents=True)  # cannot be removed
    done = torchrun([str(path_of("train")), "run.json"], cwd=tmp_path, timeout=200)
    assert done.returncode != 0
    assert "error: The earlier run in " in done.stderr
