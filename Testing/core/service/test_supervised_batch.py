"""A batch whose worker crashes, hangs or is killed: one case costs one case."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli_client import COHORT_FILES, ROOT, names, read_table, start, write_scan
from MorseCore.commands.batch import run_batch
from MorseCore.commands.batchtable import SUMMARY
from MorseCore.errors import Cancelled, DeviceError, ModelError
from MorseCore.service.protocol import CaseSettings, Describe, Load
from MorseCore.service.supervisor import SupervisedWorker, WorkerCommand, WorkerLostError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

_FAULTS = """
import os, sys, time
sys.path.insert(0, {root!r})
import MorseCore.images.channels as channels
read = channels.read_volume

def faulty(path, options=None):
    if "crash" in path.name:
        os.kill(os.getpid(), 11)
    if "hang" in path.name:
        time.sleep(600)
    if "full" in path.name:
        raise MemoryError
    if "broken" in path.name:
        raise RuntimeError("the reader broke\\nwith details")
    return read(path, options)

channels.read_volume = faulty
from MorseCore.service.worker import main
sys.exit(main())
"""


@pytest.fixture
def faulty_worker() -> Iterator[SupervisedWorker]:
    """A worker whose reader fails in native ways, by the name of the file."""
    code = _FAULTS.format(root=str(ROOT))
    with SupervisedWorker(WorkerCommand(sys.executable, ("-u", "-c", code))) as worker:
        yield worker


SETTINGS = CaseSettings(model="phantom-tiny")


def scans(folder: Path, *case_names: str) -> Path:
    for name in case_names:
        write_scan(folder / f"{name}.nii.gz", seed=28)
    return folder


def statuses(output: Path) -> dict[str, str]:
    return {row["case"]: row["status"] for row in read_table(output / SUMMARY)}


def messages(output: Path) -> dict[str, str]:
    return {row["case"]: row["message"] for row in read_table(output / SUMMARY)}


def test_a_crash_a_hang_and_lack_of_memory_cost_one_case_each(
    faulty_worker: SupervisedWorker, tmp_path: Path
) -> None:
    cases = ("a", "broken", "c-crash", "d", "e-hang", "f-full", "g")
    folder, output = scans(tmp_path / "in", *cases), tmp_path / "out"
    code = run_batch(
        [folder], output, replace(SETTINGS, passes=0), worker=faulty_worker, hang_limit=3
    )
    assert code == 1
    good = {"a", "d", "g"}
    expected = {name: "done" if name in good else "failed" for name in cases}
    assert statuses(output) == expected
    assert names(output) == good | COHORT_FILES
    found = messages(output)
    assert found["broken"] == "unexpected RuntimeError: the reader broke"
    assert "signal 11" in found["c-crash"]
    assert "no sign of progress" in found["e-hang"]
    assert "memory" in found["f-full"]


def at_progress(worker: SupervisedWorker, case: str, number: int) -> Callable[..., None]:
    """Send the worker a signal when a case has begun."""
    done: list[str] = []

    def tell(name: str, stage: str, percent: float) -> None:
        if name == case and stage != "read" and not done and worker.pid:
            done.append(name)
            os.kill(worker.pid, number)

    return tell


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_ended_or_stopped_from_outside_costs_one_case(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder, output = scans(tmp_path / "in", "a", "b", "c"), tmp_path / "out"
    with SupervisedWorker() as worker:
        code = run_batch(
            [folder], output, SETTINGS, worker=worker, hang_limit=4,
            progress=at_progress(worker, "b", number),
        )  # fmt: skip
    assert code == 1
    assert statuses(output) == {"a": "done", "b": "failed", "c": "done"}
    assert names(output) == {"a", "c"} | COHORT_FILES


def test_a_worker_that_ended_between_two_cases_costs_nothing(tmp_path: Path) -> None:
    folder, output = scans(tmp_path / "in", "a", "b"), tmp_path / "out"

    with SupervisedWorker() as worker:

        def end(*_: object) -> None:
            if worker.pid:
                os.kill(worker.pid, signal.SIGKILL)
            time.sleep(0.2)

        code = run_batch([folder], output, SETTINGS, worker=worker, on_result=end)
    assert code == 0
    assert statuses(output) == {"a": "done", "b": "done"}


def test_a_single_case_that_hangs_ends_with_one_sentence(
    faulty_worker: SupervisedWorker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_scan(tmp_path / "hang.nii.gz")
    code = run_batch(
        [path],
        tmp_path / "out",
        SETTINGS,
        worker=faulty_worker,
        hang_limit=2,
    )
    assert code == 1
    assert "no sign of progress" in caplog.text
    assert faulty_worker.pid is None
    assert names(tmp_path / "out") == set()


def test_errors_of_the_worker_keep_their_class() -> None:
    with SupervisedWorker() as worker:
        with pytest.raises(ModelError, match="did you mean 'phantom-tiny'"):
            worker.ask(Load(id=1, model="phantom-tinY"))
        with pytest.raises(DeviceError):
            worker.ask(Load(id=2, model="phantom-tiny", device="cuda:99"))


def test_a_worker_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    ends = WorkerCommand(sys.executable, ("-c", "import sys; sys.exit(3)"))
    with SupervisedWorker(ends) as worker, pytest.raises(WorkerLostError, match="exit code 3"):
        worker.ask(Describe(id=1))
    missing = WorkerCommand(str(tmp_path / "no-python"), ())
    with SupervisedWorker(missing) as worker, pytest.raises(WorkerLostError, match="no-python"):
        worker.ask(Describe(id=1))


def test_a_batch_is_cancelled_while_its_worker_hangs(
    faulty_worker: SupervisedWorker, tmp_path: Path
) -> None:
    folder, stop = scans(tmp_path / "in", "a", "hang"), threading.Event()

    def stop_soon(name: str, stage: str, percent: float) -> None:
        if name == "hang":
            stop.set()

    with pytest.raises(Cancelled):
        run_batch(
            [folder], tmp_path / "out", SETTINGS, worker=faulty_worker,
            progress=stop_soon, should_stop=stop.is_set,
        )  # fmt: skip
    assert faulty_worker.pid is None
    assert names(tmp_path / "out") == {"a", "pictures", SUMMARY}


def children_of(pid: int) -> set[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, encoding="utf-8", check=False
    )
    return {int(word) for word in listed.stdout.split()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    folder = scans(tmp_path / "in", *(f"s{n}" for n in range(30)))
    process = start("segment", folder, "--model", "phantom-tiny", "--output", tmp_path / "out")
    while not (tmp_path / "out" / "s1" / "report.json").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    workers = children_of(process.pid)
    assert workers
    process.send_signal(number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
