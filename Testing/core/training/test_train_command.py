"""``python Training/train.py``: its files, its exit codes, and one sentence for each mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.system.files import only_training_in
from MorseCore.training.phantoms import write_phantom_dataset
from train_command import train
from training_runs import REPOSITORY, records

UNETR_OF_ANOTHER_SIZE = json.dumps(
    {"name": "unetr", "image_size": [16, 16, 32], "hidden": 12, "mlp": 8, "layers": 4}
)


def test_a_run_leaves_a_model_figures_curves_and_a_log(home: Path):
    assert train() == 0
    folder = home / "runs" / "tiny"
    info = read_model(folder / "model")
    load_network(folder / "model", info)
    assert info.training["command"] == "python Training/train.py run.json"
    assert info.field_of_view == (16.0, 16.0, 16.0)
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert set(figures) == {"validation", "test"}
    assert figures == info.training["figures"]
    assert [record["step"] for record in records(folder)] == [1, 2, 3, 4, 4]
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "worst.png").read_bytes().startswith(b"\x89PNG")
    assert "train: 3 cases" in (folder / "train.log").read_text(encoding="utf-8")


def test_a_training_without_matplotlib_loses_the_picture_only(home: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert train("optimisation.iterations=1") == 0
    folder = home / "runs" / "tiny"
    read_model(folder / "model")
    assert "No picture was drawn" in (folder / "train.log").read_text(encoding="utf-8")
    assert not (folder / "curves.png").exists()


def test_overrides_change_the_run_and_stand_in_the_card(home: Path):
    assert train("name=other", "optimisation.iterations=2", "output=out put", "seed=3") == 0
    folder = home / "out put" / "other"
    assert len(records(folder)) == 3
    info = read_model(folder / "model")
    assert info.training["config"]["seed"] == 3
    assert "optimisation.iterations=2 'output=out put'" in info.training["command"]


def test_without_validation_and_test_cases_there_is_a_model_without_figures(home: Path, data: Path):
    split = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    (home / "split.json").write_text(json.dumps({"train": split["train"]}), encoding="utf-8")
    assert train("data.split=split.json") == 0
    assert json.loads((home / "runs" / "tiny" / "figures.json").read_text(encoding="utf-8")) == {}
    assert read_model(home / "runs" / "tiny" / "model").training["splits"]["val"] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optimisation.iteration=3"], "did you mean 'iterations'?"),
        (["optimisation.batch_size=0"], "'batch_size' must be positive"),
        (["nonsense"], "not of the form key=value"),
        (["preparation.window=[16,16,10]"], "must be a multiple of 4"),
        ([f"network.backbone={UNETR_OF_ANOTHER_SIZE}"], "'image_size' (16, 16, 32)"),
        (['card.structures={"bal": {}}'], "did you mean 'ball'?"),
    ],
)
def test_a_faulty_configuration_is_exit_code_2_and_one_sentence(
    home: Path, capsys, arguments, expected
):
    assert train(*arguments) == 2
    assert_one_sentence(capsys.readouterr().err, expected)


def test_a_device_that_is_not_there_is_exit_code_2(home: Path, capsys):
    assert train("device=gpu") == 2
    assert_one_sentence(capsys.readouterr().err, "found 'gpu'")


def test_a_missing_configuration_is_exit_code_2(home: Path, capsys):
    assert train(config="gone.json") == 2
    assert_one_sentence(
        capsys.readouterr().err, "The file 'gone.json' does not exist (looked for from "
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.dataset=gone.json", "'gone.json' does not exist"),
        ("data.split=run.json", "no training case"),
        ("output=run.json", "cannot be written"),
    ],
)
def test_what_the_run_meets_is_exit_code_1_and_one_sentence(home, capsys, override, expected):
    assert train(override) == 1
    assert_one_sentence(capsys.readouterr().err, expected)


def test_a_damaged_test_case_is_found_before_the_training(home: Path, capsys):
    path = write_phantom_dataset(home / "own", cases=(1, 1, 1), shape=(16, 16, 16))
    wrong = np.zeros((15, 16, 16), np.uint8)
    write_labels(
        home / "own" / "labels" / "phantom_002.nii.gz", wrong, Geometry(wrong.shape, np.eye(4))
    )
    assert train(f"data.dataset={path}", f"data.split={path.parent / 'splits.json'}") == 1
    assert "Case 'phantom_002'" in capsys.readouterr().err
    assert not (home / "runs" / "tiny" / "metrics.jsonl").exists()


def test_a_changed_run_is_refused_and_can_be_started_anew(home: Path, capsys):
    assert train("optimisation.iterations=2") == 0
    capsys.readouterr()
    assert train("optimisation.iterations=2", "optimisation.clip=3") == 2
    assert "optimisation.clip (was 12.0, is 3.0)" in capsys.readouterr().err
    assert train("optimisation.iterations=1") == 2
    assert "optimisation.iterations (was 2, is 1)" in capsys.readouterr().err
    assert train("optimisation.iterations=2", "optimisation.clip=3", "resume=never") == 0


def test_a_finished_run_goes_on_when_more_iterations_are_asked(home: Path):
    assert train("optimisation.iterations=2") == 0
    assert train("optimisation.iterations=3") == 0
    steps = [json.loads(line)["step"] for line in
             (home / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()]  # fmt: skip
    assert sorted(set(steps)) == [1, 2, 3]


def test_the_command_says_how_it_is_used(capsys):
    with pytest.raises(SystemExit) as stopped:
        train(config="--help")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "torchrun" in text
    assert "key=value" in text


def assert_one_sentence(text: str, expected: str) -> None:
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in text


def test_a_second_training_in_one_folder_is_refused_while_the_first_one_runs(
    home: Path, capsys, monkeypatch
):
    monkeypatch.setattr("MorseCore.system.files._PATIENCE", 0.3)
    (home / "runs" / "tiny").mkdir(parents=True, exist_ok=True)
    with only_training_in(home / "runs" / "tiny"):
        assert train() == 2
        assert_one_sentence(capsys.readouterr().err, "Another process is training in '")
    assert train("optimisation.iterations=1", "validation.every=1") == 0


@pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: a kill is Unix's")
def test_a_killed_training_leaves_its_folder_to_the_next_one(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("MorseCore.system.files._PATIENCE", 0.3)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from MorseCore.system.files import only_training_in\n"
        "with only_training_in(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, encoding="utf-8", cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="Another process"), only_training_in(tmp_path):
            pass
        other.kill()
    with only_training_in(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: processes are not forked on Windows")
def test_a_forked_loader_does_not_keep_a_finished_training_s_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("MorseCore.system.files._PATIENCE", 0.3)
    with only_training_in(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with only_training_in(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_key_that_went_says_the_way_out(home: Path, capsys):
    assert train("optimisation.finishing=3") == 2
    assert_one_sentence(capsys.readouterr().err, "'optimisation.finishing' is gone; train the head")
