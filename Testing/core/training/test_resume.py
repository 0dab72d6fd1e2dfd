"""A run that was killed or stopped ends with the very bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from MorseCore.config import encode
from MorseCore.errors import ConfigError, ModelError
from MorseCore.system.files import sha256
from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import (
    flat_config,
    make_trainer,
    phantom_cases,
    records,
    run_data,
    script,
    start,
)

STEPS = 30
EVERY = 8
PATIENCE = 240.0  # seconds until a process must have come so far


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a data set, a configuration, and a run that nobody disturbed."""
    home = tmp_path_factory.mktemp("home")
    write_phantom_dataset(home / "data", cases=(4, 2, 1), shape=(16, 16))
    flat = encode(flat_config())
    chosen = {key: flat[key] for key in ("network", "preparation", "augmentation")}
    options = {"iterations": STEPS, "batch_size": 2, "learning_rate": 0.003}
    data = run_data() | chosen | {"optimisation": options, "validation": {"every": EVERY}}
    (home / "run.json").write_text(json.dumps(data), encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert train(home, "undisturbed") == 0
    torch.set_num_threads(threads)
    return home


def train(home: Path, output: str, *overrides: str) -> int:
    """The command in this process."""
    before = Path.cwd()
    os.chdir(home)
    try:
        return script("train").main(["run.json", f"output={output}", *overrides])
    finally:
        os.chdir(before)


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Until ``metrics.jsonl`` tells of a step."""
    path, end = folder / "metrics.jsonl", time.monotonic() + PATIENCE
    while not (path.is_file() and path.read_text(encoding="utf-8").count('"total"') >= step):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "the run does not come so far"
        time.sleep(0.002)


def assert_same_run(home: Path, output: str) -> None:
    ours, theirs = home / output / "tiny", home / "undisturbed" / "tiny"
    for name in (f"weights-{STEPS}.safetensors", "best.safetensors", "metrics.jsonl"):
        assert sha256(ours / name) == sha256(theirs / name), name
    model, other = (place / "model" / "weights.safetensors" for place in (ours, theirs))
    assert sha256(model) == sha256(other)
    assert sorted(path.name for path in ours.glob("*-[0-9]*")) == [
        f"trainer-{STEPS}.pt",
        f"weights-{STEPS}.safetensors",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_run_goes_on_to_the_same_bits(home: Path):
    process = start(["run.json", "output=killed"], cwd=home)
    wait_for_step(process, home / "killed" / "tiny", EVERY + 3)
    process.kill()
    process.communicate()
    state = json.loads((home / "killed" / "tiny" / "state.json").read_text())
    assert EVERY <= state["step"] < STEPS
    assert train(home, "killed") == 0
    assert_same_run(home, "killed")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_to_the_same_bits(home: Path):
    process = start(["run.json", "output=stopped"], cwd=home)
    wait_for_step(process, home / "stopped" / "tiny", 3)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    state = json.loads((home / "stopped" / "tiny" / "state.json").read_text())
    assert 3 <= state["step"] < STEPS
    assert f"saved at step {state['step']} of {STEPS}" in output
    assert "Traceback" not in output
    assert not (home / "stopped" / "tiny" / "model").exists()
    assert train(home, "stopped") == 0
    assert_same_run(home, "stopped")


def test_a_finished_run_only_writes_its_model_again(home: Path):
    before = sha256(home / "undisturbed" / "tiny" / "metrics.jsonl")
    assert train(home, "undisturbed") == 0
    assert sha256(home / "undisturbed" / "tiny" / "metrics.jsonl") == before


def test_a_stop_during_validation_is_made_good(tmp_path: Path):
    """The checkpoint is written before the validation, which is done when the run goes on."""
    train_cases, val = phantom_cases(0, 1, dims=2), phantom_cases(8, 9, dims=2)
    config = flat_config(optimisation={"iterations": 4}, validation={"every": 2})
    reference = make_trainer(config, tmp_path / "a", train=train_cases, val=val)
    assert reference.run()

    trainer = make_trainer(config, tmp_path / "b", train=train_cases, val=val)
    save = trainer.store.save

    def save_and_stop(*arguments, **options):
        save(*arguments, **options)
        signal.raise_signal(signal.SIGTERM)

    trainer.store.save = save_and_stop  # type: ignore[method-assign]
    assert not trainer.run()
    assert trainer.store.state()["validated"] is False
    again = make_trainer(config, tmp_path / "b", train=train_cases, val=val)
    assert again.run()
    assert records(tmp_path / "b") == records(tmp_path / "a")
    assert again.best == reference.best


def test_a_run_in_which_validation_was_stopped_at_the_end_is_not_finished(tmp_path: Path):
    config = flat_config(optimisation={"iterations": 2}, validation={"every": 2})
    trainer = make_trainer(
        config, tmp_path, train=phantom_cases(0, dims=2), val=phantom_cases(9, dims=2)
    )
    save = trainer.store.save

    def save_and_stop(*arguments, **options):
        save(*arguments, **options)
        signal.raise_signal(signal.SIGINT)

    trainer.store.save = save_and_stop  # type: ignore[method-assign]
    assert not trainer.run()


def finished(folder: Path, **changes: object) -> Path:
    config = flat_config(optimisation={"iterations": 4, "learning_rate": 0.003}, **changes)
    assert make_trainer(config, folder, train=phantom_cases(0, 1, dims=2)).run()
    return folder


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"optimisation": {"iterations": 4, "learning_rate": 0.004}},
            r"optimisation.learning_rate \(was 0.003, is 0.004\)",
        ),
        ({"seed": 5}, r"seed \(was 1337, is 5\)"),
        ({"data": {"foreground": 0.9}}, "data.foreground"),
    ],
)
def test_a_changed_configuration_is_refused_and_the_key_named(tmp_path: Path, changes, expected):
    finished(tmp_path)
    base = {"optimisation": {"iterations": 4, "learning_rate": 0.003}}
    trainer = make_trainer(
        flat_config(**(base | changes)), tmp_path, train=phantom_cases(0, 1, dims=2)
    )
    with pytest.raises(ConfigError, match=f"{expected}.*resume=never"):
        trainer.run()


def test_changed_training_cases_are_refused(tmp_path: Path):
    finished(tmp_path)
    config = flat_config(optimisation={"iterations": 4, "learning_rate": 0.003})
    trainer = make_trainer(config, tmp_path, train=phantom_cases(0, 2, dims=2))
    with pytest.raises(ConfigError, match=r"data\.cases"):
        trainer.run()


def test_what_does_not_decide_the_weights_may_change(tmp_path: Path):
    finished(tmp_path)
    config = flat_config(
        optimisation={"iterations": 4, "learning_rate": 0.003}, validation={"every": 1},
        data={"dataset": "moved.json", "workers": 1}, renderer={"points": 9, "passes": 1},
    )  # fmt: skip
    assert make_trainer(config, tmp_path, train=phantom_cases(0, 1, dims=2)).run()


def test_resume_never_starts_anew_and_leaves_nothing_of_the_old_run(tmp_path: Path):
    finished(tmp_path)
    trainer = make_trainer(
        flat_config(optimisation={"iterations": 2}, resume="never"), tmp_path,
        train=phantom_cases(0, 1, dims=2),
    )  # fmt: skip
    trainer.store.save_best({"old": torch.zeros(1)})
    assert trainer.run()
    assert [record["step"] for record in records(tmp_path)] == [1, 2]
    assert not (tmp_path / "best.safetensors").exists()
    assert not (tmp_path / "weights-4.safetensors").exists()


def test_a_checkpoint_of_another_network_is_one_sentence(tmp_path: Path):
    finished(tmp_path)
    state = json.loads((tmp_path / "state.json").read_text())
    del state["fingerprint"]["network"]  # as if nobody had noticed
    (tmp_path / "state.json").write_text(json.dumps(state))
    head = {"spatial_dims": 2, "head": {"name": "plain"}}
    config = flat_config(
        optimisation={"iterations": 4, "learning_rate": 0.003},
        network=encode(flat_config())["network"] | head,
    )
    trainer = make_trainer(config, tmp_path, train=phantom_cases(0, 1, dims=2))
    with pytest.raises(ModelError, match="does not fit the network"):
        trainer.run()
