"""Which device is taken, and what a person is told about it, its driver and the memory."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from MorseCore.errors import DeviceError
from MorseCore.service.describing import describe_devices, describe_versions
from MorseCore.system import devices, memory
from MorseCore.system.devices import gpu_driver, resolve_device
from MorseCore.system.memory import available_memory, physical_memory
from MorseCore.training.distributed import _device_of

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


def test_the_driver_is_told_where_torch_cannot_use_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert describe_versions()["driver"] == "none in use"
    fake_nvidia_smi(path, "echo 390.10")  # too old for torch, which is what a report must show
    assert describe_versions()["driver"] == "390.10"


@pytest.fixture
def two_gpus(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """A computer with two GPUs; what is put in here is why one of them cannot compute."""
    faults: dict[int, str] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: f"Card {n}")
    zeros = torch.zeros

    def fake_zeros(*size: int, device: torch.device) -> torch.Tensor:
        if device.index in faults:
            raise RuntimeError(f"CUDA error: {faults[device.index]}\nCompile with X for details.")
        return zeros(*size)

    monkeypatch.setattr(devices.torch, "zeros", fake_zeros)
    return faults


def test_a_gpu_that_cannot_compute_is_left_out(
    two_gpus: dict[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert str(resolve_device("auto")) == "cuda:0"
    two_gpus[0] = "no kernel image is available for execution on the device"
    assert str(resolve_device("auto")) == "cuda:1"
    assert "cuda:0 is left out: CUDA error: no kernel image" in caplog.text
    assert str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(DeviceError, match=r"'cuda:0' cannot be used: CUDA error: no kernel image"):
        resolve_device("cuda:0")
    two_gpus[1] = "out of memory"
    assert str(resolve_device("auto")) == "cpu"


def test_each_process_of_a_training_tries_its_own_gpu_only(two_gpus: dict[int, str]) -> None:
    two_gpus[0] = "all CUDA-capable devices are busy or unavailable"  # by the first process
    for name in ("cuda", "auto"):
        assert str(_device_of(name, 1)) == "cuda:1"
        with pytest.raises(DeviceError, match="'cuda:0' cannot be used"):
            _device_of(name, 0)
    assert str(_device_of("cpu", 0)) == "cpu"
    with pytest.raises(DeviceError, match="needs a GPU of its own"):
        _device_of("auto", 2)


def test_a_gpu_in_use_does_not_hide_the_others(
    two_gpus: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory_of(n: int) -> tuple[int, int]:
        if n == 0:
            raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")
        return 3 << 30, 8 << 30

    monkeypatch.setattr(torch.cuda, "mem_get_info", memory_of)
    titles = {device["id"]: device["title"] for device in describe_devices()}
    assert titles["cuda:0"] == "Card 0, in use or unusable"
    assert titles["cuda:1"] == "Card 1, 3.0 of 8.0 GiB free"


def test_why_torch_finds_no_gpu_is_said_to_whoever_wants_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def too_old() -> bool:
        if not told:  # torch tells it once
            told.append("CUDA initialization: The NVIDIA driver on your system is too old\nUpdate")
            warnings.warn(told[0], stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    devices._why_no_gpu.cache_clear()
    try:
        with pytest.raises(DeviceError, match=r"\(CUDA init.* driver on your system is too old\);"):
            resolve_device("cuda")
        assert str(resolve_device("auto")) == "cpu"
        assert "driver on your system is too old" in caplog.text
    finally:
        devices._why_no_gpu.cache_clear()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine: No valid execution plans built"), True),
        (RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_known_in_the_words_of_all_libraries(
    error: Exception, expected: bool
) -> None:
    assert memory.is_out_of_memory(error) == expected


def test_windows_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        @staticmethod
        def GlobalMemoryStatusEx(reference: Any) -> int:
            status = reference._obj
            assert status.length == 64  # bytes of MEMORYSTATUSEX, by Microsoft's documentation
            status.total, status.available = 16 << 30, 5 << 30
            return 1

    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setattr(memory.ctypes, "windll", SimpleNamespace(kernel32=Kernel), raising=False)
    assert (physical_memory(), available_memory()) == (16 << 30, 5 << 30)


def test_each_gpu_and_the_cpu_are_named_with_free_and_whole_memory(
    two_gpus: dict[int, str], monkeypatch: pytest.MonkeyPatch
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
