"""Freed memory is reused where the C library can be told so."""

import ctypes
import subprocess
import sys

import pytest

from MorseCore import allocation

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="NOT TESTED: needs Linux with glibc",
)
COUNT = """
import resource
import sys

import torch

from MorseCore.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
x = torch.ones(12_000_000)
x * 2
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    x * 2
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system cleared for 20 tensors of 48 MB, one after the other."""
    words = [sys.executable, "-c", COUNT, how]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@glibc
def test_the_next_tensor_takes_the_memory_of_the_last_one() -> None:
    assert faults("kept") < faults("plain") / 2


def test_where_there_is_no_glibc_nothing_is_done_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocation.sys, "platform", "win32")
    assert not allocation.keep_freed_memory()
