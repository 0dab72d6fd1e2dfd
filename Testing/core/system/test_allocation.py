"""Freed memory is reused where the C library can be told so."""

import subprocess
import sys

import pytest

from MorseCore.system import allocation

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or allocation._glibc() is None,
    reason="NOT TESTED: needs Linux with glibc",
)
COUNT = """
import resource
import sys

import torch

from MorseCore.system.allocation import SMALL, keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
if sys.argv[1] == "small":
    assert keep_freed_memory(largest=SMALL)
x = torch.ones(int(sys.argv[2]))
x * 2
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    x * 2
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


GIVE_BACK = """
import torch

from MorseCore.system.allocation import SMALL, give_back_freed_memory, keep_freed_memory

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

keep_freed_memory(largest=SMALL)
tensors = [torch.ones(5_000_000) for _ in range(10)]
del tensors
full = held()
give_back_freed_memory()
print((full - held()) * 4096)
"""


def run(*words: str) -> int:
    """The number that a Python program prints."""
    command = [sys.executable, "-c", *words]
    return int(subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout)


@glibc
def test_the_next_tensor_takes_the_memory_of_the_last_one() -> None:
    kept, plain, small = (run(COUNT, how, "12000000") for how in ("kept", "plain", "small"))
    assert kept < plain / 2
    assert small == pytest.approx(plain, rel=0.1)  # 48 MB: as large as a scan, given back


@glibc
def test_what_is_kept_can_be_given_back() -> None:
    assert run(GIVE_BACK) > 150e6


def test_where_there_is_no_glibc_nothing_is_done_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocation.sys, "platform", "win32")
    assert not allocation.keep_freed_memory()
    assert not allocation.give_back_freed_memory()
