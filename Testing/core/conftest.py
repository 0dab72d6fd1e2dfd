"""What is slow to make is made once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_client import CommandLine, write_scan
from MorseCore.store.library import find_model
from warm_worker import WarmWorker


@pytest.fixture(scope="session")
def warm_worker() -> Iterator[WarmWorker]:
    """A real worker for all commands that are run in this process."""
    worker = WarmWorker()
    yield worker
    worker.end()


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], warm_worker: WarmWorker, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """The command line, in this process."""
    monkeypatch.setattr("MorseCore.commands.batch.SupervisedWorker", lambda: warm_worker)
    return CommandLine(capsys)


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a phantom; not to be changed."""
    return write_scan(tmp_path_factory.mktemp("scan") / "phantom.nii.gz")


@pytest.fixture(scope="session")
def predictor() -> Any:
    """phantom-tiny on the CPU."""
    from MorseCore.inference.predictor import VolumePredictor

    return VolumePredictor(find_model("phantom-tiny"), device="cpu")


@pytest.fixture(scope="session")
def slice_predictor() -> Any:
    """phantom-tiny-2d on the CPU."""
    from MorseCore.inference.predictor import VolumePredictor

    return VolumePredictor(find_model("phantom-tiny-2d"), device="cpu")


@pytest.fixture(scope="session")
def finished(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a case that the command line segmented; not to be changed."""
    from MorseCore.commands.cli import main

    output = tmp_path_factory.mktemp("finished")
    words = ["segment", scan, "--model", "phantom-tiny", "--output", output, "--device", "cpu"]
    assert main([str(word) for word in words]) == 0
    return output / "phantom"
