"""``train RUN``: how far it is, going on with it, making it longer, ending it from elsewhere."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from MorseCore.errors import ConfigError
from MorseCore.store.model_folder import read_model
from MorseCore.system.files import is_training_in, only_training_in
from MorseCore.training.config import OptimisationConfig
from MorseCore.training.status import describe_run
from MorseCore.training.step import learning_rate
from train_command import train
from training_runs import records, start

RUN = "runs/tiny"


def card(home: Path) -> str:
    return (home / RUN / "model" / "README.md").read_text(encoding="utf-8")


def test_the_status_says_steps_losses_and_the_dsc_of_each_structure(home: Path, capsys):
    assert train() == 0
    assert train("--status", config=RUN) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "tiny: step 4 of 4, has ended; its model folder is there." in lines
    assert any(line.startswith("  validation at step 4: DSC 0.") for line in lines)
    assert [line.split(":")[0].strip() for line in lines[-2:]] == ["ball", "rod"]


def test_a_folder_without_a_training_has_no_status(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no training whose steps are written down"):
        describe_run(tmp_path)


def test_a_run_before_its_first_step_reads_its_data(tmp_path: Path):
    with only_training_in(tmp_path):
        assert is_training_in(tmp_path)
        assert describe_run(tmp_path).endswith("reads its data; no step is done yet.")
    assert not is_training_in(tmp_path)


def test_a_finished_run_is_made_longer_and_its_card_says_so(home: Path):
    assert train() == 0
    assert train("optimisation.iterations=+4", config=RUN) == 0
    steps = [r["step"] for r in records(home / RUN) if "total" in r]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    options = read_model(home / RUN / "model").training["config"]["optimisation"]
    assert (options["iterations"], options["continued_from"]) == (8, 4)
    assert "- Made longer: 4 iterations were planned first" in card(home)
    assert train(config=RUN) == 0  # as it now is; nothing is added once more
    assert len([r for r in records(home / RUN) if "total" in r]) == 8


def test_the_rate_of_a_longer_run_rises_again():
    options = OptimisationConfig(iterations=2000, continued_from=1000, learning_rate=1.0)
    plain = OptimisationConfig(iterations=2000, learning_rate=1.0)
    rates = [learning_rate(step, options) for step in range(995, 1200)]
    assert rates[:5] == [learning_rate(step, plain) for step in range(995, 1000)]
    assert rates[5] == pytest.approx(learning_rate(1000, plain) / 101)
    assert all(a < b for a, b in pairwise(rates[5:101]))
    assert learning_rate(1150, options) == learning_rate(1150, plain)


def test_a_run_of_other_options_is_still_refused(home: Path, capsys):
    assert train() == 0
    assert train("optimisation.learning_rate=0.5", config=RUN) == 2
    assert "began otherwise: optimisation.learning_rate" in capsys.readouterr().err


def test_a_stopped_run_is_ended_and_its_card_says_after_how_many_steps(home: Path):
    assert train("validation.every=2") == 0
    assert train("optimisation.iterations=+400", "--finish", config=RUN) == 0
    info = read_model(home / RUN / "model")
    assert not info.training["preliminary"]
    assert "preliminary" not in info.title
    assert "- Ended by the person who trained it after 4 of 404 iterations." in card(home)


def test_a_running_training_is_ended_from_another_process(home: Path, capsys):
    process = start(
        ["run.json", "optimisation.iterations=100000", "validation.every=100000"], cwd=home
    )
    try:
        until = time.monotonic() + 120
        while not (home / RUN / "progress.json").is_file() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.1)
        assert "step" in describe_run(home / RUN)
        assert train("--finish", config=RUN) == 0
        assert "is asked to finish" in capsys.readouterr().out
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate()
    assert "of 100000 iterations." in card(home)
    assert not (home / RUN / "finish").exists()
