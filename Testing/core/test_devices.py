"""What a person is told about the computer's graphics driver and memory."""

import os
from pathlib import Path

import pytest
import torch

from MorseCore.devices import available_memory, gpu_driver, physical_memory
from MorseCore.service.describing import describe_devices, describe_versions

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fake nvidia-smi is a shell script")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found, on a computer with a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def fake_nvidia_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_driver_is_what_nvidia_smi_says_once_for_all_gpus(path: Path) -> None:
    fake_nvidia_smi(
        path, '[ "$*" = "--query-gpu=driver_version --format=csv,noheader" ] || exit 9\n'
        "echo 550.54.15; echo 550.54.15"
    )  # fmt: skip
    assert gpu_driver() == "550.54.15"


def test_a_nvidia_smi_that_hangs_is_left_after_two_seconds(path: Path) -> None:
    fake_nvidia_smi(path, "exec /bin/sleep 60")
    assert gpu_driver() == "unknown: nvidia-smi did not answer within 2 s"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 6", "unknown: nvidia-smi failed with exit code 6"),
        ("true", "unknown: nvidia-smi said nothing"),
        (None, "unknown: nvidia-smi is not there"),
    ],
)
def test_what_is_not_known_is_said_with_the_reason(
    path: Path, script: str | None, reason: str
) -> None:
    if script is not None:
        fake_nvidia_smi(path, script)
    assert gpu_driver() == reason


def test_without_a_gpu_no_driver_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fake_nvidia_smi(path, "echo 550.54.15")
    assert describe_versions()["driver"] == "none in use"


def test_each_gpu_and_the_cpu_are_named_with_free_and_whole_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda n: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: "Card")
    monkeypatch.setattr("MorseCore.service.describing.available_memory", lambda: 5 << 29)
    monkeypatch.setattr("MorseCore.service.describing.physical_memory", lambda: 16 << 30)
    titles = {device["id"]: device["title"] for device in describe_devices()}
    assert titles["cuda:0"] == "Card, 3.0 of 8.0 GiB free"
    assert titles["cpu"].endswith("threads, 2.5 of 16.0 GiB free")


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="only Linux says what is free")
def test_some_of_the_memory_is_available() -> None:
    assert 0 < available_memory() <= physical_memory()
