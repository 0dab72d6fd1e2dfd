"""A working directory and a runner, for what users get wrong at the scripts in ``Training``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import run_data, script

__all__ = ["ROWS", "Said", "data", "home", "no_training", "said", "write_table"]

ROWS = [{"name": "a", "group": "g", "baseline": True}]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two training, one validation and two test phantoms."""
    folder = tmp_path_factory.mktemp("phantoms")
    return write_phantom_dataset(folder, cases=(2, 1, 2), shape=(16, 16, 16)).parent


@pytest.fixture
def home(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``data``, ``config.json``, ``table.json`` and ``file.txt``."""
    (tmp_path / "data").mkdir()
    for name in ("dataset.json", "splits.json"):
        (tmp_path / "data" / name).write_bytes((data / name).read_bytes())
    for name in ("images", "labels"):
        (tmp_path / "data" / name).symlink_to(data / name)
    config = run_data(optimisation={"iterations": 2, "batch_size": 1})
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_table(tmp_path)
    (tmp_path / "file.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def write_table(home: Path, **changes: object) -> None:
    table = {"title": "T", "source": "s", "base": "config.json", "rows": ROWS} | changes
    (home / "table.json").write_text(json.dumps(table))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a script; its exit code and its one sentence."""

    def run(name: str, *words: object) -> tuple[int, str]:
        try:
            code = script(name).main([str(word) for word in words])
        except SystemExit as stopped:  # argparse
            code = stopped.code
        text = capsys.readouterr().err
        errors = [line for line in text.splitlines() if "error: " in line]
        assert len(errors) == 1, text
        assert "Traceback" not in text
        return code, errors[0]

    return run


Said = Callable[..., tuple[int, str]]


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that starts is a failure: the mistake was to be found before."""

    def start(*_: object) -> None:
        pytest.fail("a training was started")

    monkeypatch.setattr("Training.research.study.running._train", start)
