"""The worker ends when the program that started it is gone, whatever it is doing then."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from worker_client import ROOT, WorkerClient, save_image

pytestmark = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="NOT TESTED: looks processes up in /proc"
)

START = """
import json, os, subprocess, sys, threading, time
command = [sys.executable, "-u", "-m", "MorseCore", "worker"]
if os.environ.get("CODE"):
    command = [sys.executable, "-u", "-c", os.environ["CODE"]]
def start():
    global worker
    worker = subprocess.Popen(command, stdin=subprocess.PIPE)
    print(worker.pid, flush=True)
"""
SEND = """
worker.stdin.write(os.environ["LINE"].encode() + b"\\n")
worker.stdin.flush()
"""
WAIT = "time.sleep(600)\n"


@contextlib.contextmanager
def program(code: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program that starts a worker and forgets it; both are gone afterwards."""
    parent = subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=ROOT, env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace",
    )  # fmt: skip
    pid = int(parent.stdout.readline())
    try:
        yield parent, pid
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(parent: subprocess.Popen[str], word: str) -> None:
    """Until the worker, which shares the program's stdout, has said a word."""
    for line in parent.stdout:
        if word in line:
            return
    raise AssertionError(f"It ended without '{word}'.")


def is_alive(pid: int) -> bool:
    """Nobody may be left to collect it as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(200):
        if not is_alive(pid):
            return True
        time.sleep(0.1)
    return False


def test_it_ends_when_its_stdin_is_closed_in_the_middle_of_a_run(tmp_path: Path) -> None:
    client = WorkerClient()
    client.read()
    client.send("segment", **long_run(tmp_path))
    while client.read().get("stage") != "network":
        pass
    assert client.close() == 0


def test_it_does_not_outlive_a_program_that_is_killed_while_it_waits() -> None:
    with program(START + "start()\n" + WAIT) as (parent, pid):
        wait_for(parent, "ready")
        parent.kill()
        assert is_gone(pid)


def test_it_does_not_outlive_a_program_that_is_killed_while_it_computes(tmp_path: Path) -> None:
    line = request("segment", **long_run(tmp_path))
    with program(START + "start()\n" + SEND + WAIT, LINE=line) as (parent, pid):
        wait_for(parent, '"network"')
        parent.kill()
        assert is_gone(pid)


def test_it_does_not_wait_for_a_third_process_that_has_inherited_its_pipe() -> None:
    """Then its stdin does not end."""
    code = START + (
        "start()\n"
        "fd = worker.stdin.fileno()\n"
        "other = subprocess.Popen(['sleep', '600'], pass_fds=[fd], stdout=subprocess.DEVNULL)\n"
        "print('other', other.pid, flush=True)\n"
    )
    with program(code + WAIT) as (parent, pid):
        words = [parent.stdout.readline(), parent.stdout.readline()]  # in any order
        (other,) = (int(line.split()[1]) for line in words if line.startswith("other"))
        try:
            parent.kill()
            assert is_gone(pid)
            assert is_alive(other), "else this test says nothing"
        finally:
            os.kill(other, signal.SIGKILL)


HOLDING = """
import ctypes
import MorseCore.service.worker as worker
def hold():
    worker.logging.getLogger("MorseCore").info("now")
    ctypes.PyDLL(None).sleep(600)  # as a library that never lets go of the interpreter
import MorseCore.service.describing as describing
describing.describe_devices = hold
worker.main()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: Linux only")
def test_native_code_that_holds_the_interpreter_does_not_keep_it_alive() -> None:
    code = START + "start()\n" + SEND + WAIT
    with program(code, CODE=HOLDING, LINE=request("describe")) as (parent, pid):
        wait_for(parent, '"now"')
        time.sleep(2.5)  # the thread that looks for the parent would have come round
        assert is_alive(pid)
        parent.kill()
        assert is_gone(pid)


def test_it_outlives_the_thread_that_started_it() -> None:
    """Linux's signal at the parent's death is one at the death of the thread that started us."""
    code = START + (
        "thread = threading.Thread(target=start)\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('joined', flush=True)\n"
    )
    with program(code + WAIT) as (parent, pid):
        wait_for(parent, "ready")
        time.sleep(2.5)
        assert is_alive(pid)
        parent.kill()
        assert is_gone(pid)


def request(name: str, **values: object) -> str:
    return json.dumps({"request": name, "id": 1, **values})


def long_run(folder: Path) -> dict[str, object]:
    """Hundreds of windows: many seconds of work."""
    noise = np.random.default_rng(0).standard_normal((150, 150, 150)).astype(np.float32)
    return {**save_image(folder, noise), "model": "phantom-tiny", "device": "cpu"}
